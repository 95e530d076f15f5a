"""What exhaustive sweeps send to workers: ranges of the enumeration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Span:
    """The points first, first + 1, ..., stop - 1 of the enumeration without those marked in `done` (packed bits).

    The trial of a point is number `offset` + index.
    """

    first: int
    stop: int
    offset: int
    done: bytes = b""

    def __len__(self) -> int:
        return self.stop - self.first

    def indices(self) -> Iterator[int]:
        """The points to evaluate."""
        if not self.done:
            yield from range(self.first, self.stop)
            return
        marks = np.unpackbits(np.frombuffer(self.done, dtype=np.uint8), count=len(self))
        yield from (int(i) for i in self.first + np.flatnonzero(marks == 0))
