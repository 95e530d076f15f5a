"""The front door of the engine: it serves a whole trace on the compiled kernel, bit for bit as the reference engine does.

What the kernel does not know runs on the reference engine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.engine import reference
from simulator.engine.clock import check_totals
from simulator.engine.kernel.advance import compiled
from simulator.engine.kernel.records import Requests
from simulator.engine.replica import Replica, is_dense
from simulator.engine.result import EngineResult
from simulator.pricing.step import StepCosts
from simulator.scheduler import limits
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_cache import hash_unit
from simulator.scheduler.policies.registry import COMPILED
from simulator.scheduler.speculation import reserved
from simulator.workload.block_identities import BlockIdentities, block_identities
from simulator.workload.trace import Segments, Trace

# What the reference engine costs: times the compiled kernel's time under vLLM's rules, 1,000 chat requests of an 8B model on one
# H100 (measured: sglang 390, tensorrt_llm 1,120, vLLM's own rules 1,190 to 1,240).
TIMES_SLOWER = {"sglang": 400}
OTHERS_SLOWER = 1000


def times_slower(scheduler: str) -> int:
    """About how many times longer a run takes under this scheduler than on the compiled kernel; 1 on the kernel itself."""
    return 1 if scheduler in COMPILED else TIMES_SLOWER.get(scheduler, OTHERS_SLOWER)


def run(trace: Trace, config: SchedulerConfig, costs: StepCosts, *, log: bool = False, gaps: bool = False,
        identities: BlockIdentities | None = None) -> EngineResult:  # fmt: skip
    """Serves `trace` and returns when every request was finished or rejected, as `reference.run` does.

    `log` keeps every step; `gaps` counts the gaps between tokens.
    `identities`: of this trace's blocks of this size, where they are at hand from an earlier run (prefix caching only).
    Raises InputError for impossible limits, tables or traces.
    """
    if config.scheduler not in COMPILED:
        return reference.run(trace, config, costs, log=log, gaps=gaps)
    requests, kept = requests_of(trace, config, identities)
    numbers: Any = np.arange(len(trace)) if trace.number is None else trace.number  # of which draws of accepted drafts depend
    numbers = numbers if kept is None else numbers[kept]
    sizes = None
    for logging in (False, True) if log else (False,):  # the first run tells how long the log is
        replica = Replica(config, costs, clients=trace.concurrency or None, gaps=gaps, nodes=leading_nodes(requests, config),
                          log=sizes if logging else None)
        replica.extend(requests, numbers)
        replica.advance()
        sizes = replica.log_sizes()
    result = check_totals(replica.result(), trace, limits.served_outputs(trace, config), config)
    return result if kept is None else _with_rejected(result, kept, len(trace))


def load() -> None:
    """Loads the compiled kernel; the first time on a machine, compiles it."""
    compiled()


def warm() -> None:
    """Compiles everything, or loads it from numba's cache. Called once before workers start, it spares them all."""
    compiled()
    shared = Segments(*(np.array(column, np.int64) for column in ([0, 1, 2], [0, 0], [0, 0], [4, 4])))
    pair = np.array([4, 4], np.int32)
    trace = Trace(np.zeros(2, np.int64), pair, pair, segments=shared)
    block_identities(trace, np.array([4, 4]), 2)
    tokens = Trace(trace.arrival_ns, pair, pair, prompt_ids=np.zeros(8, np.int32), prompt_id_offsets=np.array([0, 4, 8]))
    block_identities(tokens, np.array([4, 4]), 2)


def leading_nodes(requests: Requests, config: SchedulerConfig) -> int:
    """Most leading blocks of a request that the prefix cache keeps one by one."""
    if not config.enable_prefix_caching or not len(requests.arrival_ns):
        return 0
    if is_dense(config):
        reserve = 2 * config.draft_tokens + reserved(config.speculation).lookahead
        longest = min(int((requests.prompt + requests.output).max()) + reserve, config.max_model_len)
        return longest // min(group.block_size for group in config.groups) + 1
    if config.policy == "priority":
        return int((requests.prompt + requests.output).max()) // config.block_size + 1
    return int(np.diff(requests.identity_offsets).max())


def requests_of(trace: Trace, config: SchedulerConfig, identities: BlockIdentities | None = None) -> tuple[Requests, Any]:
    """The requests that are not rejected, and their indices in the trace (None: all). `identities`: see `run`."""
    limits.check_trace(trace)
    outputs: Any = limits.served_outputs(trace, config)
    if np.array_equal(outputs, trace.output_tokens):
        outputs = trace.output_tokens  # which needs no memory of its own
    none: Any = np.zeros(0, np.int64)
    kept, priority, offsets, shared, unique = None, none, none, none, none
    if config.policy == "priority":
        priority = np.zeros(len(trace), np.int32) if trace.priority is None else trace.priority
    if config.enable_prefix_caching:
        limits.check_config(config)
        identities = identities or block_identities(trace, outputs, hash_unit(config))
        offsets, shared, unique = identities.offsets, identities.shared, identities.unique
    columns = [trace.arrival_ns, trace.prompt_tokens, outputs, priority, unique]
    if len(outputs) and outputs.min() == 0:
        kept = np.flatnonzero(outputs)
        columns = [column[kept] if len(column) else column for column in columns]
        if len(offsets):
            lengths = np.diff(offsets)
            offsets, shared = np.concatenate([[0], np.cumsum(lengths[kept])]), shared[np.repeat(outputs > 0, lengths)]
    columns[4:4] = [offsets, shared]
    types = (np.int64, np.int32, np.int32, np.int32, np.int64, np.int64, np.int64)
    return Requests(*(np.ascontiguousarray(column, dtype) for column, dtype in zip(columns, types, strict=True))), kept


def _with_rejected(result: EngineResult, kept: Any, n: int) -> EngineResult:
    """The result for a trace of `n` requests, all but those `kept` rejected."""
    def spread(name: str, fill: int) -> Any:
        full = np.full(n, fill, getattr(result, name).dtype)
        full[kept] = getattr(result, name)
        return full

    if result.log is not None:
        for numbers in (result.log.batch_request, result.log.admissions[:, 1], result.log.preempted[:, 1]):
            numbers[:] = kept[numbers]
    fills = {"first_scheduled_ns": -1, "first_token_ns": -1, "finish_ns": -1, "preemptions": 0, "cached_tokens": 0}
    return replace(result, **{name: spread(name, fill) for name, fill in fills.items()})
