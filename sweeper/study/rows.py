"""Finished trials in columns, as an exhaustive sweep gets them: the driver need not look at each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sweeper.study.trial import STATUSES, Trial

COMPLETE, FAILED = STATUSES.index("complete"), STATUSES.index("failed")


@dataclass(frozen=True)
class Rows:
    """Finished trials of a range of the enumeration: one row each, with its ledger line."""

    numbers: NDArray[np.int64]  # [n]
    statuses: NDArray[np.int8]  # [n], index into STATUSES
    objectives: NDArray[np.float64]  # [n, objectives], NaN where a trial has none
    design_keys: list[str]  # [n]
    lines: bytes  # n lines, each with its newline
    rejected: Counter[str] = field(default_factory=Counter)  # points illegal as written, by the constraint missed
    seconds: float = 0.0  # wall time of the whole range
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
