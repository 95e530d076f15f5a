"""What the reference engine asks of a scheduler: vLLM's is one answer, every policy another, a plug-in's too."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Protocol

from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.requests import Batch, Request
from simulator.workload.block_identities import BlockIdentities


class Pool(Protocol):
    """KV blocks of a replica, as they are counted: `free` are those that could be had now, cached ones among them."""

    @property
    def users(self) -> Sized:
        """As long as there are blocks."""

    @property
    def free(self) -> int: ...


class Policy(Protocol):
    """One replica's scheduler.

    The engine hands over arrivals (`enqueue`), asks for a batch whenever something waits or runs (`schedule`; an empty one
    says that nothing can be done before an earlier batch ends) and tells when a batch has ended (`deliver`, in order).
    With `config.async_scheduling` two batches are in flight: `schedule` is then called before the last batch is delivered.
    """

    swapped_blocks: int  # KV blocks moved to or from host memory since the last batch; the engine sets it back to 0

    @property
    def waiting(self) -> Sequence[Request]: ...

    @property
    def running(self) -> Sequence[Request]: ...

    @property
    def pool(self) -> Pool: ...

    def enqueue(self, request: Request) -> None:
        """A request has arrived."""

    def schedule(self) -> Batch:
        """The next batch; every entry with `computed` as it was before."""

    def deliver(self, batch: Batch) -> list[Request]:
        """A batch has ended. Returns the requests that got a token, `outputs` counted up, in batch order."""


class PolicyFactory(Protocol):
    """A policy's class, or a function that makes one."""

    def __call__(self, config: SchedulerConfig, identities: BlockIdentities | None, channels: int, /) -> Policy:
        """identities: of the prompts' blocks, None without prefix caching. channels: of PIM, 0 without."""
