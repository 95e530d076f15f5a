"""The PIM channels of a policy's running requests, one channel each: the one with the fewest tokens at admission."""

from __future__ import annotations

from simulator.scheduler.requests import Request


class Channels:
    """Tokens (prompt and delivered outputs) of the running requests on each channel. As vLLM's `Scheduler` does it."""

    def __init__(self, channels: int) -> None:
        self.tokens = [0] * max(channels, 1)

    def place(self, request: Request) -> None:
        """A request starts running."""
        request.channel = min(range(len(self.tokens)), key=self.tokens.__getitem__)
        self.tokens[request.channel] += request.known

    def grow(self, request: Request) -> None:
        """A running request got a token."""
        self.tokens[request.channel] += 1

    def leave(self, request: Request) -> None:
        """A request has stopped running."""
        self.tokens[request.channel] -= request.known
