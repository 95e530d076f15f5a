"""Schedulers by name: vLLM v1 and the classic policies as small variants of it.

All share the queue, the block pool and the limits of `SchedulerConfig`; where a paper leaves something open the answer
is vLLM v1's (head-of-line admission, victims from the tail, watermark only beside running requests).
"""

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


class Orca(Scheduler):
    """Iteration-level scheduling (Yu et al., OSDI 2022): requests join and leave at every step, prompts are computed
    whole beside decodes, and KV for max_model_len tokens is reserved at admission ("Orca (Max)" of the vLLM paper)."""

    whole_prompts = True

    def reserve(self, request: Request) -> int:
        return self.config.max_model_len


class VllmV0(Scheduler):
    """vLLM before v1 (Kwon et al., SOSP 2023): whole prompts first; a step is either prompts only or decodes only, so
    running requests pause while others are prefilled. Requests that come back from host memory also form a step of
    their own."""

    whole_prompts = True

    def schedule(self) -> Batch:
        batch, cap, budget = Batch(), self.cap(), self.config.max_num_batched_tokens
        self.admit(batch, budget, cap)
        if not batch.entries:
            self.serve_running(batch, budget, cap)
        return self.commit(batch)


class Sarathi(Scheduler):
    """Stall-free batching (Agrawal et al., Sarathi-Serve, OSDI 2024): within the token budget first all decodes, then
    prompts under way, then new ones; what is left of the budget sets the chunk."""

    def order(self) -> list[Request]:
        return sorted(self.running, key=lambda request: request.missing > 1)


SCHEDULERS: dict[str, type[Scheduler]] = {
    "vllm_v1": Scheduler,
    "sarathi": Sarathi,
    "static": StaticBatching,
    "orca": Orca,
    "vllm_v0": VllmV0,
}
