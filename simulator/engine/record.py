"""The recorder of the reference engine: request times, totals and, on request, every step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from simulator.engine.batch_time import StepTime
from simulator.engine.gap_histogram import BINS, gap_bin
from simulator.engine.result import EngineResult, StepLog
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.requests import Batch, Entry, Request
from simulator.scheduler.scheduler import Scheduler
from simulator.workload.trace import Int32

COLUMNS = ("scheduled_ns", "start_ns", "end_ns", "n", "tokens", "free_blocks", "waiting", "running")


class Recorder:
    """Collects `EngineResult` for `n` requests; see there for the meaning of every total."""

    def __init__(self, n: int, config: SchedulerConfig, log: bool, gaps: bool) -> None:
        self.config, self.log = config, log
        self.gaps = np.zeros(BINS, np.int64) if gaps else None
        self.first_scheduled = np.full(n, -1, np.int64)
        self.first_token = np.full(n, -1, np.int64)
        self.finish = np.full(n, -1, np.int64)
        self.tokens = np.zeros(config.max_num_batched_tokens + 1, np.int64)
        self.sequences = np.zeros(config.max_num_seqs + 1, np.int64)
        self.steps = self.makespan = self.used_block_ns = self.peak_used = self.waiting_ns = 0
        self.sums = dict.fromkeys(("blocks_ns", "decode_ns", "prefill_ns", "decodes", "decode_context", "chunks",
                                   "chunk_tokens", "chunk_context", "chunk_pairs", "checked", "draft_ns"), 0)
        self.last_scheduled = self.last_waiting = 0
        self.last_start = self.last_end = self.last_used = 0  # of the last batch that was not empty
        self.rows: list[tuple[int, ...]] = []
        self.entries: list[Entry] = []
        self.held: list[list[int]] = []
        self.admissions: list[tuple[int, int, int]] = []
        self.preempted: list[tuple[int, int]] = []

    def step(self, batch: Batch, scheduler: Scheduler, decided_ns: int, start_ns: int, time: StepTime | None) -> None:
        """A decision that scheduled a token (`time` is its price) or only preempted (None)."""
        used = len(scheduler.pool.users) - scheduler.pool.free
        tokens = time.tokens if time else 0
        self.waiting_ns += self.last_waiting * (decided_ns - self.last_scheduled)
        self.last_scheduled, self.last_waiting = decided_ns, len(scheduler.waiting)
        self.peak_used = max(self.peak_used, used)
        self.tokens[tokens] += 1
        self.sequences[len(batch.entries)] += 1
        self.makespan = max(self.makespan, batch.end_ns)
        if time:
            self.used_block_ns += self.last_used * (min(start_ns, self.last_end) - self.last_start)
            self.last_start, self.last_end, self.last_used = start_ns, batch.end_ns, used
            for name in self.sums:
                self.sums[name] += getattr(time, name)
        for entry in batch.entries:
            if self.first_scheduled[entry.request.index] < 0:
                self.first_scheduled[entry.request.index] = start_ns
        if self.log:
            computed = {entry.request.index: entry.computed for entry in batch.entries}
            self.rows.append((decided_ns, start_ns, batch.end_ns, len(batch.entries), tokens, scheduler.pool.free,
                              len(scheduler.waiting), len(scheduler.running)))
            self.entries += batch.entries
            if self.config.kv_groups or self.config.speculation:
                self.held.append(scheduler.held())
            self.admissions += [(self.steps, request.index, computed[request.index]) for request in batch.admitted]
            self.preempted += [(self.steps, request.index) for request in batch.preempted]
        self.steps += 1

    def tokens_out(self, receivers: list[Request], end_ns: int) -> None:
        """Requests that got output tokens when a batch ended."""
        for request in receivers:
            if request.outputs == 1:
                self.first_token[request.index] = end_ns
            elif self.gaps is not None:
                self.gaps[gap_bin(end_ns - request.last_token_ns)] += 1
            request.last_token_ns = end_ns
            if request.outputs == request.wanted:
                self.finish[request.index] = end_ns

    def result(self, requests: list[Request]) -> EngineResult:
        """All of it. `requests` in order of their index."""
        self.used_block_ns += self.last_used * (self.last_end - self.last_start)
        sums = self.sums
        return EngineResult(
            self.first_scheduled, self.first_token, self.finish,
            np.array([request.preemptions for request in requests], np.int32),
            np.array([max(request.cached, 0) for request in requests], np.int32),
            self.steps, self.makespan, self.tokens, self.sequences,
            sums["blocks_ns"], sums["decode_ns"], sums["prefill_ns"], sums["decodes"], sums["decode_context"],
            sums["chunks"], sums["chunk_tokens"], sums["chunk_context"], sums["chunk_pairs"],
            self.used_block_ns, self.peak_used, self.waiting_ns, self._log() if self.log else None, self.gaps,
            sums["checked"], sum(request.accepted for request in requests), sums["draft_ns"])

    def _log(self) -> StepLog:
        rows = np.array(self.rows, np.int64).reshape(-1, len(COLUMNS))
        times: dict[str, Any] = {name: rows[:, k].copy() for k, name in enumerate(COLUMNS[:3])}
        counts: dict[str, Any] = {name: rows[:, k].astype(np.int32) for k, name in enumerate(COLUMNS) if k >= 3}
        entries = self.entries
        more: dict[str, Any] = {}
        if self.config.kv_groups or self.config.speculation:
            more = {"batch_computed": _column(entry.computed for entry in entries),
                    "batch_drafts": _column(entry.checked for entry in entries),
                    "batch_outputs": _column(entry.delivered for entry in entries),
                    "held": np.array(self.held, np.int32).reshape(-1, len(self.config.groups))}
        return StepLog(**times, **counts, batch_request=_column(entry.request.index for entry in entries),
                       batch_new_tokens=_column(entry.new for entry in entries),
                       admissions=np.array(self.admissions, np.int32).reshape(-1, 3),
                       preempted=np.array(self.preempted, np.int32).reshape(-1, 2), **more)


def _column(values: Iterable[int]) -> Int32:
    return np.fromiter(values, np.int32)
