"""vLLM before v1: steps of prompts only or of decodes only."""

from __future__ import annotations

from simulator.scheduler.requests import Batch
from simulator.scheduler.scheduler import Scheduler


class VllmV0(Scheduler):
    """vLLM before v1 (Kwon et al., SOSP 2023): whole prompts first; a step is either prompts only or decodes only, so
    running requests pause while others are prefilled. Requests that come back from host memory also form a step of
    their own."""

    whole_prompts = True

    def schedule(self) -> Batch:
        batch, cap, budget = self.begin(), self.cap(), self.config.max_num_batched_tokens
        self.admit(batch, budget, cap)
        if not batch.entries:
            self.serve_running(batch, budget, cap)
        return self.commit(batch)
