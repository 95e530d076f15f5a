"""One continuous run of the fast engine over a trace that comes in pieces: memory for requests under way, not for all.

The compiled engine runs until its next decision may depend on requests that it has not been given, and leaves its state
(clock, batch, queue, KV cache) in the arrays that it works on. Requests that are through are handed out; the others move
to the front of a new window, and the next piece is put behind them. Decisions and times are those of `engine.run`, bit for
bit, however the trace is cut.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simulator.engine import fast_arrays, fast_general, fast_plain, kernels
from simulator.engine.engine import result_of
from simulator.engine.fast_arrays import Limits, Outcome, Requests, new_outcome
from simulator.engine.fast_compile import compiled
from simulator.engine.fast_variants import variant
from simulator.engine.result import EngineResult
from simulator.engine.stream_window import extended, renumber, under_way
from simulator.pricing.step import StepCosts
from simulator.scheduler import limits
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.trace import Int32, Int64, Trace

_OPEN = 1 << 60  # clients


class Served(NamedTuple):
    """Requests that are through, shapes [n]; times in ns, see EngineResult. `request`: position in the trace."""

    request: Int64
    arrival_ns: Int64
    prompt: Int32
    output: Int32  # tokens that it got
    first_scheduled_ns: Int64
    first_token_ns: Int64
    finish_ns: Int64
    preemptions: Int32
    cached_tokens: Int32


class Preempted(Exception):
    """Prefix caching met a preemption, after which the engine chosen for speed cannot go on: begin again with `general`."""


class Stream:
    """A run under way. Prompts have no known content: with prefix caching only a resumed request can hit a block.

    gaps: count the gaps between tokens. general: take the engine that runs everything. Raises what `engine.run` raises.
    """

    def __init__(self, config: SchedulerConfig, costs: StepCosts, *, gaps: bool = False, general: bool = False) -> None:
        self._config, self._gaps, self._given = config, gaps, 0
        self._tables = kernels.checked_tables(config, costs)
        bounds = asked = kernels.limits_of(config, self._tables, _OPEN)
        self._at = np.zeros(0, np.int64)  # positions in the trace of the window's requests
        none = np.zeros(0, np.int32)
        self._requests = _requests(Trace(self._at, none, none), config, none, self._numbers(self._at))
        if not general and kernels.hits_need_preemption(bounds, self._requests):
            bounds = bounds._replace(caching=False)
        self._general = general or not kernels.plain_enough(bounds, self._requests)
        self._limits = asked if self._general else bounds
        self._gives_up = self._limits.caching != asked.caching  # at a preemption
        self._outcome = self._new_outcome(0)
        longest = -(-config.max_model_len // config.block_size)
        self._pool = kernels.pool_for(self._limits, config.max_num_seqs, longest if self._general else 0)
        self._state: Any = self._queues(0) if self._general else kernels.plain_for(self._limits, self._tables, config.max_model_len)

    def feed(self, trace: Trace, *, more: bool) -> Served:
        """Goes on with the next requests of the trace; to the end unless there are `more` to come. Returns those that are
        through now; rejected ones never are. Raises Preempted."""
        limits.check_trace(trace)
        served = limits.served_outputs(trace, self._config)
        at = self._given + np.flatnonzero(served)
        self._given += len(trace)
        self._extend(_requests(trace, self._config, served, self._numbers(at)), at)
        self._run(self._limits._replace(more=more))
        kept = under_way(self._state, len(self._at)) if more else np.zeros(0, np.int64)
        return self._shrink(kept)

    def result(self) -> EngineResult:
        """Totals of the run; arrays with a value per request are empty."""
        return result_of(self._outcome, None, None, 0)

    def _run(self, bounds: Limits) -> None:
        common = self._requests, bounds, self._tables, self._state
        if self._general:
            end = compiled(fast_general)(*common, self._pool, self._outcome, kernels.new_log(0, 0, 0, 0))
        elif bounds.depth > 1:
            end = compiled(fast_plain)(*common, self._outcome)
        else:
            end = compiled(variant(streamed=True, channels=bounds.channels > 0))(*common, self._pool, self._outcome)
        if self._gives_up and self._outcome.totals[fast_arrays.PREEMPTIONS] > 0:
            raise Preempted
        kernels.check_end(end)

    def _extend(self, fresh: Requests, at: Int64) -> None:
        """Puts requests behind those of the window."""
        old, requests = self._outcome, len(self._at) + len(at)
        joined = [np.concatenate([a, b]) for a, b in zip(self._requests, fresh, strict=True)]
        if len(fresh.identity_offsets):
            joined[4] = np.zeros(requests + 1, np.int64)  # no block is shared
        self._requests = Requests(*(kernels.readonly(column) for column in joined))
        new = self._new_outcome(requests)
        for before, after in zip((*old[:5], old.last_token_ns), (*new[:5], new.last_token_ns), strict=True):
            after[: len(before)] = before
        self._outcome = Outcome(*new[:5], *old[5:9], new.last_token_ns)
        self._at = np.concatenate([self._at, at])
        if self._general:
            self._state = extended(self._state, self._queues(requests))

    def _shrink(self, kept: Int64) -> Served:
        """Hands out who is through; the others are numbered anew, in the same order."""
        through = np.ones(len(self._at), np.bool_)
        through[kept] = False
        outcome, last = self._outcome, self._outcome.last_token_ns
        columns: Any = (column[through] for column in (self._at, *self._requests[:3], *outcome[:5]))
        served = Served(*columns)
        self._state = renumber(self._state, kept)
        self._requests = Requests(*(column[kept] if len(column) else column for column in self._requests))
        times: Any = (column[kept] for column in outcome[:5])
        outcome = outcome._replace(**dict(zip(Outcome._fields, times, strict=False)))
        self._outcome = outcome._replace(last_token_ns=last[kept] if len(last) else last)
        self._at = self._at[kept]
        return served

    def _new_outcome(self, requests: int) -> Outcome:
        return new_outcome(requests, self._limits.token_budget, self._limits.max_num_seqs, gaps=self._gaps)

    def _queues(self, requests: int) -> Any:
        return kernels.queues_for(self._limits, self._tables, requests)

    def _numbers(self, at: Int64) -> Int64:
        """Identity of the first block of the requests at these positions; no request has more than max_model_len tokens."""
        return at * (self._config.max_model_len // self._config.block_size + 1)


def _requests(trace: Trace, config: SchedulerConfig, served: Any, first_blocks: Int64) -> Requests:
    """The requests that are not rejected."""
    kept = np.flatnonzero(served)
    columns = trace.arrival_ns[kept].astype(np.int64), trace.prompt_tokens[kept].astype(np.int32), served[kept].astype(np.int32)
    priority, offsets, unique = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    if config.policy == "priority":
        priority = np.zeros(len(kept), np.int32) if trace.priority is None else trace.priority[kept].astype(np.int32)
    if config.enable_prefix_caching:
        offsets, unique = np.zeros(len(kept) + 1, np.int64), first_blocks
    return Requests(*columns, priority, offsets, np.zeros(0, np.int64), unique)
