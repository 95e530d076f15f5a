"""A whole trace on the compiled kernel: the reference engine's results bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.costs.step import StepCosts
from simulator.engine.kernel.records import Requests
from simulator.engine.replica import Replica
from simulator.serving import limits
from simulator.serving.config import EngineResult, SchedulerConfig, Trace
from simulator.serving.identities import BlockIdentities, block_identities


def run(
    trace: Trace, config: SchedulerConfig, costs: StepCosts, *, log: bool = False, gaps: bool = False,
    identities: BlockIdentities | None = None,
) -> EngineResult:
    """Serves `trace` and returns when every request was finished or rejected, as `reference.run` does.

    `log` keeps every step; `gaps` counts the gaps between tokens.
    `identities`: of this trace's blocks of this size, where they are at hand from an earlier run (prefix caching only).
    Raises InputError for impossible limits, tables or traces, and for schedulers that are not compiled.
    """
    limits.check_trace(trace)
    outputs = limits.served_outputs(trace, config)
    requests, kept = _requests(trace, config, outputs, identities)
    clients = trace.concurrency or None
    replica = Replica(config, costs, clients=clients, gaps=gaps, nodes=_leading_nodes(requests, config))
    replica.extend(requests)
    replica.advance()
    if log:  # the first run has told how long the log is
        replica = Replica(config, costs, clients=clients, gaps=gaps, nodes=_leading_nodes(requests, config), log=replica.log_sizes())
        replica.extend(requests)
        replica.advance()
    return _with_rejected(replica.result(), kept, len(trace))


def _leading_nodes(requests: Requests, config: SchedulerConfig) -> int:
    """Leading blocks of a request that the prefix cache keeps one by one."""
    n = len(requests.arrival_ns)
    if not config.enable_prefix_caching or not n:
        return 0
    if config.policy == "priority":
        return int((requests.prompt + requests.output).max()) // config.block_size + 1
    return int(np.diff(requests.identity_offsets).max())


def _requests(
    trace: Trace, config: SchedulerConfig, outputs: Any, identities: BlockIdentities | None
) -> tuple[Requests, Any]:
    """The trace without the requests that are rejected, and the indices of those kept (None: all)."""
    none32, none64 = np.zeros(0, np.int32), np.zeros(0, np.int64)
    priority, offsets, shared, unique = none32, none64, none64, none64
    if config.policy == "priority":
        priority = np.zeros(len(trace), np.int32) if trace.priority is None else trace.priority
    if config.enable_prefix_caching:
        identities = identities or block_identities(trace, outputs, config.block_size)
        offsets, shared, unique = identities.offsets, identities.shared, identities.unique
    columns = [trace.arrival_ns, trace.prompt_tokens, outputs, priority]
    kept = None
    if len(outputs) and outputs.min() == 0:
        kept = np.flatnonzero(outputs)
        columns = [column[kept] if len(column) else column for column in columns]
        if len(offsets):
            lengths, keep = np.diff(offsets), outputs > 0
            offsets, shared = np.concatenate([[0], np.cumsum(lengths[keep])]), shared[np.repeat(keep, lengths)]
            unique = unique[kept]
    types = (np.int64, np.int32, np.int32, np.int32, np.int64, np.int64, np.int64)
    return Requests(*(np.ascontiguousarray(column, dtype) for column, dtype in
                      zip([*columns, offsets, shared, unique], types, strict=True))), kept


def _with_rejected(result: EngineResult, kept: Any, n: int) -> EngineResult:
    """The result for a trace of `n` requests of which those `kept` (None: all) were not rejected."""
    if kept is None:
        return result
    import dataclasses

    times = {name: _scattered(getattr(result, name), kept, n, -1)
             for name in ("first_scheduled_ns", "first_token_ns", "finish_ns")}
    counts = {name: _scattered(getattr(result, name), kept, n, 0) for name in ("preemptions", "cached_tokens")}
    if result.log is not None:
        for numbers in (result.log.batch_request, result.log.admissions[:, 1], result.log.preempted[:, 1]):
            numbers[:] = kept[numbers]
    return dataclasses.replace(result, **times, **counts)


def _scattered(column: Any, kept: Any, n: int, fill: int) -> Any:
    full = np.full(n, fill, column.dtype)
    full[kept] = column
    return full
