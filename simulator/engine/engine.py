"""The fast engine: the reference engine's results bit for bit, compiled with numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.engine import fast_arrays, fast_general, fast_plain
from simulator.engine.fast_arrays import Limits, Log, Outcome, Requests, new_outcome
from simulator.engine.fast_compile import compiled
from simulator.engine.fast_variants import variant
from simulator.engine.kernels import (
    check_end,
    checked_tables,
    hits_need_preemption,
    limits_of,
    new_log,
    plain_enough,
    plain_for,
    pool_for,
    queues_for,
    readonly,
)
from simulator.engine.result import EngineResult, StepLog
from simulator.pricing.lookup import StepTables
from simulator.pricing.step import StepCosts
from simulator.scheduler import limits
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.block_identities import BlockIdentities, block_identities
from simulator.workload.trace import Segments, Trace

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
    tables = checked_tables(config, costs)
    limits.check_trace(trace)
    served = limits.served_outputs(trace, config)
    requests, kept = _requests(trace, config, served, identities)
    bounds = limits_of(config, tables, trace.concurrency or len(trace))
    outcome, rows = None, None
    closed = trace.concurrency > 0
    general = log or (closed and bounds.depth > 1)
    if not general and hits_need_preemption(bounds, requests):
        outcome = _run_plain(requests, bounds._replace(caching=False), tables, closed, gaps)
        if outcome is not None and outcome.totals[fast_arrays.PREEMPTIONS] > 0:
            outcome = None
    elif not general and plain_enough(bounds, requests):
        outcome = _run_plain(requests, bounds, tables, closed, gaps)
    if outcome is None:
        outcome, rows = _run_general(requests, bounds, tables, log, gaps)
    return result_of(outcome, rows, kept, len(trace))


def load() -> None:
    """Starts the compiler's runtime (0.2 s of CPU time) and loads the kernel that most runs need; others come when needed."""
    compiled(variant())


def warm() -> None:
    """Compiles every kernel, or loads it from numba's cache (in `__pycache__` beside the sources; where that cannot be
    written, in the user's cache directory or NUMBA_CACHE_DIR). Called once before workers start, it spares them all."""
    for kernel in (variant(), variant(caching=True), fast_plain, fast_general):
        compiled(kernel)
    shared = Segments(*(np.array(column, np.int64) for column in ([0, 1, 2], [0, 0], [0, 0], [4, 4])))
    pair = np.array([4, 4], np.int32)
    trace = Trace(np.zeros(2, np.int64), pair, pair, segments=shared)
    block_identities(trace, np.array([4, 4]), 2)
    tokens = Trace(trace.arrival_ns, pair, pair, prompt_ids=np.zeros(8, np.int32), prompt_id_offsets=np.array([0, 4, 8]))
    block_identities(tokens, np.array([4, 4]), 2)


def _run_plain(requests: Requests, bounds: Limits, tables: StepTables, closed: bool, gaps: bool) -> Outcome | None:
    """None where prefix caching meets a preemption (see `fast_prefix`)."""
    n = len(requests.arrival_ns)
    outcome = new_outcome(n, bounds.token_budget, bounds.max_num_seqs, gaps=gaps)
    state = plain_for(bounds, tables, int(requests.output.max()) if n else 1)
    if bounds.depth > 1:
        check_end(compiled(fast_plain)(requests, bounds, tables, state, outcome))
        return outcome
    kernel = variant(caching=bounds.caching, channels=bounds.channels > 0, closed=closed)
    recurring = int(np.diff(requests.identity_offsets).max()) if bounds.caching and n else 0
    pool = pool_for(bounds, bounds.max_num_seqs, recurring)
    end = compiled(kernel)(requests, bounds, tables, state, pool, outcome)
    if end == fast_arrays.PREEMPTS:
        return None
    check_end(end)
    return outcome


def _run_general(
    requests: Requests, bounds: Limits, tables: StepTables, log: bool, gaps: bool
) -> tuple[Outcome, Log | None]:
    """With a log the run is made twice: the first time tells how long the log is."""
    outcome = _simulate_general(requests, bounds, tables, new_log(0, 0, 0, 0), gaps)
    if not log:
        return outcome, None
    totals = outcome.totals
    rows = new_log(
        int(totals[fast_arrays.STEPS]),
        int(totals[fast_arrays.ENTRIES]),
        int(totals[fast_arrays.ADMISSIONS]),
        int(totals[fast_arrays.PREEMPTIONS]),
    )
    return _simulate_general(requests, bounds, tables, rows, gaps), rows


def _simulate_general(requests: Requests, bounds: Limits, tables: StepTables, rows: Log, gaps: bool) -> Outcome:
    n = len(requests.arrival_ns)
    outcome = new_outcome(n, bounds.token_budget, bounds.max_num_seqs, gaps=gaps)
    queues = queues_for(bounds, tables, n)
    longest = int((requests.prompt + requests.output).max()) if bounds.caching and n else 0
    pool = pool_for(bounds, min(bounds.max_num_seqs, n), -(-longest // bounds.block_size))
    check_end(compiled(fast_general)(requests, bounds, tables, queues, pool, outcome, rows))
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
    return Requests(*(readonly(a) for a in (arrival, prompt, output, priority, offsets, shared, unique))), kept


def _without(offsets: Any, values: Any, keep: Any) -> tuple[Any, Any]:
    """Rows of a CSR that `keep` marks."""
    lengths = np.diff(offsets)
    return np.concatenate([[0], np.cumsum(lengths[keep])]), values[np.repeat(keep, lengths)]


def result_of(outcome: Outcome, rows: Log | None, kept: Any, n: int) -> EngineResult:
    """What a run wrote, for a trace of `n` requests of which those `kept` (None: all) were not rejected."""
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
