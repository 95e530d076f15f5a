"""Orca: iteration-level scheduling with memory reserved for the longest possible request."""

from __future__ import annotations

from simulator.scheduler.requests import Request
from simulator.scheduler.scheduler import Scheduler


class Orca(Scheduler):
    """Iteration-level scheduling (Yu et al., OSDI 2022): requests join and leave at every step, prompts are computed
    whole together with decodes, and KV for max_model_len tokens is reserved at admission ("Orca (Max)" of the vLLM paper)."""

    whole_prompts = True

    def reserve(self, request: Request) -> int:
        return self.config.max_model_len
