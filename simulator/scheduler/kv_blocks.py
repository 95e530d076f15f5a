"""The pool of KV blocks and its prefix cache, as vLLM v1 manages them.

A block is in use (by one request, or by several that share a cached prefix), blank, or idle: used by nobody but still
holding published content. Blank blocks are handed out first, then idle ones, least recently released first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Tokens = TypeVar("Tokens", int, NDArray[np.int64])


def blocks_for(tokens: Tokens, block_size: int) -> Tokens:
    """KV blocks that hold this many tokens, the last one partly filled."""
    return -(-tokens // block_size)


class BlockPool:
    """`usable` blocks; the null block of vLLM's `num_gpu_blocks` is not among them."""

    def __init__(self, usable: int) -> None:
        self.blank = list(range(usable))
        self.idle: dict[int, None] = {}  # in order of release: the first is reused first
        self.users = [0] * usable
        self.content: dict[int, int] = {}  # block -> identity of its published content
        self.published: dict[int, dict[int, None]] = {}  # identity -> its blocks, oldest first

    @property
    def free(self) -> int:
        return len(self.blank) + len(self.idle)

    def cached(self, identity: int) -> int | None:
        """A block with this content; of equal blocks the oldest published."""
        return next(iter(self.published.get(identity, ())), None)

    def idle_among(self, blocks: Sequence[int]) -> int:
        """How many of `blocks` nobody uses: sharing them takes that many from `free`."""
        return sum(self.users[block] == 0 for block in blocks)

    def share(self, blocks: Sequence[int]) -> None:
        """One more user for each of these cached blocks."""
        for block in blocks:
            self.users[block] += 1
            self.idle.pop(block, None)

    def take(self, count: int) -> list[int]:
        """`count` free blocks; an idle one loses its content."""
        taken = []
        for _ in range(count):
            if self.blank:
                block = self.blank.pop()
            else:
                block = next(iter(self.idle))
                del self.idle[block]
                self._forget(block)
            self.users[block] = 1
            taken.append(block)
        return taken

    def publish(self, block: int, identity: int) -> None:
        """Makes a full block findable. Equal blocks are not merged."""
        self.content[block] = identity
        self.published.setdefault(identity, {})[block] = None

    def release(self, blocks: Iterable[int]) -> None:
        """One user less for each, in this order: the first is reused first."""
        for block in blocks:
            self.users[block] -= 1
            if self.users[block] == 0:
                if block in self.content:
                    self.idle[block] = None
                else:
                    self.blank.append(block)

    def _forget(self, block: int) -> None:
        blocks = self.published[self.content.pop(block)]
        del blocks[block]
