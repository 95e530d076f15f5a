"""A request inside the reference engine, and the batch that one scheduling pass decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.scheduler.block_tables import BlockTable


@dataclass(slots=True, eq=False)
class Request:
    """Everything derives from four counters: delivered `outputs`, `computed` tokens (KV computed or scheduled), `pending` outputs
    (scheduled, not delivered; only with async scheduling, where the next step builds on them, drafts in flight counted as accepted)
    and `drafts` (proposed, not scheduled)."""

    index: int
    arrival_ns: int
    prompt: int
    wanted: int  # output tokens it will get
    priority: int
    outputs: int = 0
    computed: int = 0
    pending: int = 0
    drafts: int = 0
    in_flight: int = 0  # batches that hold it and have not ended: a preempted request waits for them
    tokens_in_flight: int = 0  # tokens of those batches, none after a preemption
    prefilling: bool = False  # its last scheduled step was a chunk that did not end its prompt
    running: bool = False
    preemptions: int = 0
    cached: int = -1  # prefix hit at first admission; -1 before
    swapped: int = 0  # tokens whose KV lies in host memory
    channel: int = 0  # PIM channel while running
    tables: list[BlockTable] = field(default_factory=list)  # while running, one per KV group
    junction: int = 0  # tokens where its last look-up found other requests' prefixes to part from it; 0: nowhere
    accepted: int = 0  # output tokens that came beyond the first of a step
    verified: int = 0  # steps that verified drafts, and proposals: places in recorded lists
    proposals: int = 0
    last_token_ns: int = 0

    @property
    def known(self) -> int:
        return self.prompt + self.outputs

    @property
    def missing(self) -> int:
        """Tokens it would like to compute now: one in decode, and its drafts."""
        return self.known + self.drafts + self.pending - self.computed


@dataclass(slots=True)
class Entry:
    """A request's part in a batch."""

    request: Request
    new: int  # tokens, drafts included
    computed: int  # before this step; with async scheduling drafts in flight count as accepted
    channel: int
    yields: bool = False  # whether output comes with the end of the batch
    checked: int = 0  # drafts among the new tokens, which are its last
    padded: bool = False  # they are dummies
    delivered: int = 0  # output tokens that came, once the batch has ended


@dataclass(slots=True)
class Batch:
    """What one pass decided."""

    entries: list[Entry] = field(default_factory=list)
    admitted: list[Request] = field(default_factory=list)
    preempted: list[Request] = field(default_factory=list)
    end_ns: int = 0
