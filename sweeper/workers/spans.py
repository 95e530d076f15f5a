"""What exhaustive sweeps send and get back: ranges of the enumeration, and finished trials in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sweeper.study.trial import STATUSES, Trial

COMPLETE, FAILED = STATUSES.index("complete"), STATUSES.index("failed")


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


@dataclass(frozen=True)
class Rows:
    """Finished trials of a span: one row each, with its ledger line, so that the driver need not look at them singly."""

    numbers: NDArray[np.int64]  # [n]
    statuses: NDArray[np.int8]  # [n], index into STATUSES
    objectives: NDArray[np.float64]  # [n, objectives], NaN where a trial has none
    design_keys: list[str]  # [n]
    lines: bytes  # n lines, each with its newline
    rejected: Counter[str] = field(default_factory=Counter)  # points illegal as written, by the constraint missed
    seconds: float = 0.0  # wall time of the whole span
    reason: str = ""  # of the last failed trial

    def __len__(self) -> int:
        return len(self.numbers)


def rows_of(trials: Sequence[Trial], objectives: Sequence[str], rejected: Counter[str], seconds: float) -> Rows:
    """Trials as columns."""
    table = np.full((len(trials), len(objectives)), np.nan)
    for i, trial in enumerate(trials):
        if trial.objectives:
            table[i] = [trial.objectives.get(name, np.nan) for name in objectives]
    return Rows(
        np.array([t.number for t in trials], dtype=np.int64),
        np.array([STATUSES.index(t.status) for t in trials], dtype=np.int8), table, [t.design_key for t in trials],
        b"".join(t.to_json_line().encode() + b"\n" for t in trials), rejected, seconds,
        next((t.reason for t in reversed(trials) if t.status == "failed"), ""))
