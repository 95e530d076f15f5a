"""Sarathi-Serve: decodes first, then chunks of prompts."""

from __future__ import annotations

from simulator.scheduler.requests import Request
from simulator.scheduler.scheduler import Scheduler


class Sarathi(Scheduler):
    """Stall-free batching (Agrawal et al., Sarathi-Serve, OSDI 2024): within the token budget first all decodes, then
    prompts under way, then new ones; what is left of the budget sets the chunk."""

    def order(self) -> list[Request]:
        return sorted(self.running, key=lambda request: request.missing > 1)
