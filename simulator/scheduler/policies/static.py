"""Static batching: a batch is filled once and nobody joins until all of it has finished."""

from __future__ import annotations

from simulator.scheduler.requests import Batch, Request
from simulator.scheduler.scheduler import Scheduler


class StaticBatching(Scheduler):
    """A batch is filled once and nobody joins until all of it has finished (FasterTransformer, and the baseline of
    the Orca paper). Prompts are computed whole; each request holds the blocks of its full length from the start, so
    nothing is preempted. A finished request leaves the computation and frees its blocks at once."""

    whole_prompts = True

    def reserve(self, request: Request) -> int:
        return request.prompt + request.wanted - 1

    def admit(self, batch: Batch, budget: int, cap: int) -> int:
        return budget if self.running else super().admit(batch, budget, cap)
