"""The fast engine: the reference engine's results bit for bit, compiled with numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.costs.lookup import StepTables, step_tables
from simulator.costs.step import StepCosts
from simulator.inputs.errors import InputError
from simulator.serving import fast_arrays, fast_cached, fast_general, fast_plain, fast_sync, limits, order_statistics
from simulator.serving.config import EngineResult, SchedulerConfig, Segments, StepLog, Trace
from simulator.serving.fast_arrays import Limits, Log, Outcome, Requests, new_outcome
from simulator.serving.fast_compile import compiled
from simulator.serving.fast_plain_state import new_plain
from simulator.serving.fast_pool import new_pool
from simulator.serving.fast_queues import new_queues
from simulator.serving.identities import BlockIdentities, block_identities

_NONE_I32, _NONE_I64 = np.zeros(0, np.int32), np.zeros(0, np.int64)


def run(
    trace: Trace,
    config: SchedulerConfig,
    costs: StepCosts,
    *,
    log: bool = False,
    gaps: bool = False,
    identities: BlockIdentities | None = None,
) -> EngineResult:
    """Serves `trace` and returns when every request was finished or rejected, as `reference.run` does.

    `log` keeps every step; `gaps` counts the gaps between tokens.
    `identities`: of this trace's blocks of this size, where they are at hand from an earlier run (prefix caching only).
    Raises InputError for impossible limits, tables or traces, and for schedulers that are not compiled.
    """
    if config.scheduler != "vllm_v1" and config.scheduler in limits.SCHEDULER_NAMES:
        raise InputError(
            f"the fast engine does not run {config.scheduler}: use simulator.serving.reference.run", key="scheduler"
        )
    limits.check_config(config)
    limits.check_costs(config, costs)
    limits.check_trace(trace)
    columns: Any = (_readonly(a) if isinstance(a, np.ndarray) else a for a in step_tables(costs))
    tables = StepTables(*columns)
    served = limits.served_outputs(trace, config)
    requests, kept = _requests(trace, config, served, identities)
    bounds = _limits(config, tables, trace.concurrency or len(trace))
    outcome, rows = None, None
    general = log or trace.concurrency > 0
    if not general and plain_enough(bounds, requests):
        outcome = _run_plain(requests, bounds, tables, gaps)
    elif not general and hits_need_preemption(bounds, requests):
        outcome = _run_plain(requests, bounds._replace(caching=False), tables, gaps)
        if outcome is not None and outcome.totals[fast_arrays.PREEMPTIONS] > 0:
            outcome = None
    if outcome is None:
        outcome, rows = _run_general(requests, bounds, tables, log, gaps)
    return _result(outcome, rows, kept, len(trace))


def warm() -> None:
    """Compiles everything, or loads it from numba's cache (in `__pycache__` beside the sources; where that cannot be
    written, in the user's cache directory or NUMBA_CACHE_DIR). Called once before workers start, it spares them all."""
    for kernel in (fast_sync, fast_cached, fast_plain, fast_general):
        compiled(kernel)
    order_statistics.warm()
    shared = Segments(*(np.array(column, np.int64) for column in ([0, 1, 2], [0, 0], [0, 0], [4, 4])))
    pair = np.array([4, 4], np.int32)
    trace = Trace(np.zeros(2, np.int64), pair, pair, segments=shared)
    block_identities(trace, np.array([4, 4]), 2)
    tokens = Trace(trace.arrival_ns, pair, pair, prompt_ids=np.zeros(8, np.int32), prompt_id_offsets=np.array([0, 4, 8]))
    block_identities(tokens, np.array([4, 4]), 2)


def plain_enough(bounds: Limits, requests: Requests) -> bool:
    """Whether an O(1) engine runs these limits; everything else, and every log, is for `fast_general`."""
    if bounds.by_priority or bounds.swap or not bounds.chunked or bounds.long_prefill_threshold > 0:
        return False
    if bounds.caching:  # fast_prefix: synchronous, and nobody quotes an output
        prompts = requests.prompt >> max(bounds.block_shift, 0)
        if bounds.depth > 1 or np.any(np.diff(requests.identity_offsets) > prompts):
            return False
    return bounds.channels == 0 and bounds.block_shift >= 0


def hits_need_preemption(bounds: Limits, requests: Requests) -> bool:
    """Whether prefix caching, with batches in flight together, changes nothing as long as nobody is preempted: where no
    block of one request recurs in another, only a resumed request can hit a block, its own."""
    if not (bounds.caching and bounds.depth > 1) or np.any(np.diff(requests.identity_offsets) > 0):
        return False
    return plain_enough(bounds._replace(caching=False), requests)


def _run_plain(requests: Requests, bounds: Limits, tables: StepTables, gaps: bool) -> Outcome | None:
    """None where prefix caching meets a preemption (see `fast_prefix`)."""
    n = len(requests.arrival_ns)
    outcome = new_outcome(n, bounds.token_budget, bounds.max_num_seqs, gaps=gaps)
    state = new_plain(
        bounds.max_num_seqs,
        bounds.block_size,
        bounds.usable_blocks,
        int(requests.output.max()) if n else 1,
        bounds.depth,
        1 if bounds.asynchronous else bounds.depth,
        len(tables.stage_layers),
    )
    if bounds.depth > 1:
        _check_end(compiled(fast_plain)(requests, bounds, tables, state, outcome))
        return outcome
    kernel = fast_cached if bounds.caching else fast_sync
    recurring = int(np.diff(requests.identity_offsets).max()) if bounds.caching and n else 0
    pool = new_pool(bounds.usable_blocks if bounds.caching else 0, bounds.max_num_seqs if bounds.caching else 0, recurring)
    end = compiled(kernel)(requests, bounds, tables, state, pool, outcome)
    if end == fast_arrays.PREEMPTS:
        return None
    _check_end(end)
    return outcome


def _check_end(end: int) -> None:
    if end == fast_arrays.LIVELOCK:
        raise RuntimeError("the scheduler is in a livelock: requests preempt each other and nobody gets a token")
    if end == fast_arrays.STUCK:
        raise RuntimeError("the scheduler leaves requests waiting for ever")


def _run_general(
    requests: Requests, bounds: Limits, tables: StepTables, log: bool, gaps: bool
) -> tuple[Outcome, Log | None]:
    """With a log the run is made twice: the first time tells how long the log is."""
    outcome = _simulate_general(requests, bounds, tables, _new_log(0, 0, 0, 0), gaps)
    if not log:
        return outcome, None
    totals = outcome.totals
    rows = _new_log(
        int(totals[fast_arrays.STEPS]),
        int(totals[fast_arrays.ENTRIES]),
        int(totals[fast_arrays.ADMISSIONS]),
        int(totals[fast_arrays.PREEMPTIONS]),
    )
    return _simulate_general(requests, bounds, tables, rows, gaps), rows


def _simulate_general(requests: Requests, bounds: Limits, tables: StepTables, rows: Log, gaps: bool) -> Outcome:
    n = len(requests.arrival_ns)
    outcome = new_outcome(n, bounds.token_budget, bounds.max_num_seqs, gaps=gaps)
    queues = new_queues(
        n,
        bounds.max_num_seqs,
        bounds.depth,
        len(tables.stage_layers),
        bounds.usable_blocks,
        by_priority=bounds.by_priority,
        swap=bounds.swap,
        channels=bounds.channels,
    )
    longest = int((requests.prompt + requests.output).max()) if bounds.caching and n else 0
    pool = new_pool(
        bounds.usable_blocks if bounds.caching else 0,
        min(bounds.max_num_seqs, n) if bounds.caching else 0,
        -(-longest // bounds.block_size),
    )
    _check_end(compiled(fast_general)(requests, bounds, tables, queues, pool, outcome, rows))
    return outcome


def _requests(
    trace: Trace, config: SchedulerConfig, served: Any, identities: BlockIdentities | None
) -> tuple[Requests, Any]:
    """The trace without the requests that are rejected, and the indices of those kept (None: all)."""
    arrival = np.ascontiguousarray(trace.arrival_ns, np.int64)
    prompt = np.ascontiguousarray(trace.prompt_tokens, np.int32)
    output = served.astype(np.int32)
    priority = _NONE_I32
    if config.policy == "priority":
        priority = np.zeros(len(trace), np.int32) if trace.priority is None else trace.priority
        priority = np.ascontiguousarray(priority, np.int32)
    offsets = shared = unique = _NONE_I64
    if config.enable_prefix_caching:
        identities = identities or block_identities(trace, served, config.block_size)
        offsets, shared, unique = identities.offsets, identities.shared, identities.unique
    kept = None
    if len(served) and served.min() == 0:
        kept = np.flatnonzero(served)
        arrival, prompt, output = arrival[kept], prompt[kept], output[kept]
        priority = priority[kept] if len(priority) else priority
        if len(offsets):
            offsets, shared = _without(offsets, shared, served > 0)
            unique = unique[kept]
    return Requests(*(_readonly(a) for a in (arrival, prompt, output, priority, offsets, shared, unique))), kept


def _without(offsets: Any, values: Any, keep: Any) -> tuple[Any, Any]:
    """Rows of a CSR that `keep` marks."""
    lengths = np.diff(offsets)
    return np.concatenate([[0], np.cumsum(lengths[keep])]), values[np.repeat(keep, lengths)]


def _readonly(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view


def _limits(config: SchedulerConfig, tables: StepTables, clients: int) -> Limits:
    return Limits(
        config.max_num_seqs,
        config.max_num_batched_tokens,
        config.block_size,
        config.num_gpu_blocks - 1,
        config.max_model_len,
        config.long_prefill_token_threshold,
        int(config.watermark * config.num_gpu_blocks),
        2 if config.async_scheduling else config.pipeline_parallel_size,
        tables.channels,
        limits.most_idle_preemptions(config),
        _exact_log2(config.block_size),
        config.enable_chunked_prefill,
        config.enable_prefix_caching,
        config.policy == "priority",
        config.async_scheduling,
        config.scheduler_reserve_full_isl,
        config.preemption == "swap",
        clients,
    )


def _exact_log2(value: int) -> int:
    return value.bit_length() - 1 if value & (value - 1) == 0 else -1


def _new_log(steps: int, entries: int, admissions: int, preemptions: int) -> Log:
    columns: Any = [np.zeros(steps, np.int64) for _ in range(3)] + [np.zeros(steps, np.int32) for _ in range(5)]
    columns += [np.zeros(entries, np.int32) for _ in range(2)]
    columns += [np.zeros((admissions, 3), np.int32), np.zeros((preemptions, 2), np.int32)]
    return Log(*columns)


def _result(outcome: Outcome, rows: Log | None, kept: Any, n: int) -> EngineResult:
    columns: Any = outcome[:5]
    if kept is not None:
        columns = [_scatter(column, kept, n, -1 if k < 3 else 0) for k, column in enumerate(columns)]
        if rows is not None:
            for ids in (rows.batch_request, rows.admissions[:, 1], rows.preempted[:, 1]):
                ids[:] = kept[ids]
    steps, makespan_ns, *totals = (int(total) for total in outcome.totals[: fast_arrays.ENTRIES])
    fields: Any = [*columns, steps, makespan_ns, outcome.steps_by_tokens, outcome.steps_by_sequences, *totals]
    fields += [StepLog(*rows) if rows is not None else None, outcome.gap_counts if len(outcome.gap_counts) else None]
    return EngineResult(*fields)


def _scatter(column: Any, kept: Any, n: int, fill: int) -> Any:
    full = np.full(n, fill, column.dtype)
    full[kept] = column
    return full
