"""Replicates of all trials of a study as arrays, and the ties that they show: 8 bytes for each objective and replicate."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sweeper.space.space import Space
from sweeper.study import ledger
from sweeper.study.front import eligible, signs
from sweeper.study.ties import Measured, close, measured
from sweeper.study.trial import Trial


class Replicated:
    """What one pass over a ledger has seen; nothing of trials without replicates."""

    def __init__(self, space: Space) -> None:
        self._names = [o.name for o in space.objectives]
        self._signs, self._count = signs(space.objectives), space.replicates
        self._offsets, self._values, self._replicates = array("q"), array("d"), array("d")
        self.half_widths: set[str] = set()

    def add(self, trial: Trial, offset: int) -> None:
        """Takes a trial into account, whose line begins at `offset`."""
        self.half_widths.update(trial.half_widths)
        if self._usable(trial) and eligible([trial]):
            self._offsets.append(offset)
            for name in self._names:
                self._values.append(trial.objectives[name])
                self._replicates.extend(trial.replicates[name])

    def ties(self, path: Path, front: Sequence[Trial]) -> tuple[dict[int, list[int]], list[Trial]]:
        """(trial -> trials of the front that it ties with, the trials behind the front but within its noise)."""
        ahead = [trial for trial in front if self._usable(trial)]
        if not ahead:
            return {}, []
        best = measured([[t.objectives[n] for n in self._names] for t in ahead],
                        [[t.replicates[n] for n in self._names] for t in ahead], self._signs)
        shape = (len(self._offsets), len(self._names))
        everyone = Measured(np.array(self._values).reshape(shape) * self._signs,
                            np.array(self._replicates).reshape(*shape, self._count) * self._signs[:, None])
        found = close(best, everyone)
        rows = sorted(found.near)
        there = list(ledger.at_offsets(path, [self._offsets[row] for row in rows]))
        own = {trial.number: found.near[row] for row, trial in zip(rows, there, strict=True)}
        near = eligible(there)
        numbers = [trial.number for trial in ahead]
        ties = {numbers[i]: [numbers[j] for j in others] for i, others in found.among.items()}
        return ties | {t.number: [numbers[j] for j in own[t.number]] for t in near}, near

    def _usable(self, trial: Trial) -> bool:
        return all(len(trial.replicates.get(name, ())) == self._count for name in self._names)
