"""A request inside the reference engine, and the batch that one scheduling pass decides."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Request:
    """Everything derives from three counters: delivered `outputs`, `computed` tokens (KV computed or scheduled) and
    `pending` outputs (scheduled, not delivered; only with async scheduling, where the next step builds on them)."""

    index: int
    arrival_ns: int
    prompt: int
    wanted: int  # output tokens it will get
    priority: int
    outputs: int = 0
    computed: int = 0
    pending: int = 0
    in_flight: int = 0  # batches that hold it and have not ended: a preempted request waits for them
    running: bool = False
    preemptions: int = 0
    cached: int = -1  # prefix hit at first admission; -1 before
    swapped: int = 0  # tokens whose KV lies in host memory
    channel: int = 0  # PIM channel while running
    blocks: list[int] = field(default_factory=list)
    published: int = 0  # leading blocks in the prefix cache
    last_token_ns: int = 0

    @property
    def known(self) -> int:
        return self.prompt + self.outputs

    @property
    def missing(self) -> int:
        """Tokens it would like to compute now: one in decode."""
        return self.known + self.pending - self.computed


@dataclass(slots=True)
class Entry:
    """A request's part in a batch."""

    request: Request
    new: int
    computed: int  # before this step
    channel: int
    yields: bool  # whether an output token comes with the end of the batch


@dataclass(slots=True)
class Batch:
    """What one pass decided."""

    entries: list[Entry] = field(default_factory=list)
    admitted: list[Request] = field(default_factory=list)
    preempted: list[Request] = field(default_factory=list)
    end_ns: int = 0
