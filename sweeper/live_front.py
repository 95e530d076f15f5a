"""The front as trials come in: a few microseconds a trial, hypervolume when somebody looks."""

from __future__ import annotations

import numpy as np

from sweeper.pareto import Points, hypervolume, points, reference_point
from sweeper.space import Space
from sweeper.trial import Trial


class LiveFront:
    """The same front as `sweeper.pareto.front`, kept as objective vectors."""

    def __init__(self, space: Space) -> None:
        self._objectives = space.objectives
        self._front: Points = np.empty((0, len(space.objectives)))
        self._extremes: Points | None = None  # [2, objectives]: best and worst of all complete trials
        self._hypervolume: float | None = 0.0
        self._keys: set[str] = set()

    def add(self, trial: Trial) -> None:
        """Takes a trial into account."""
        if trial.status != "complete" or (trial.baseline and not trial.parameters):
            return
        if trial.design_key and trial.design_key in self._keys:
            return
        self._keys.add(trial.design_key)
        row = points([trial], self._objectives)[0]
        extremes = np.stack([row, row]) if self._extremes is None else np.stack(
            [np.minimum(self._extremes[0], row), np.maximum(self._extremes[1], row)])
        if self._extremes is None or not np.array_equal(extremes, self._extremes):
            self._extremes, self._hypervolume = extremes, None
        better = np.all(self._front <= row, axis=1) & np.any(self._front < row, axis=1)
        if bool(np.any(better)):
            return
        worse = np.all(row <= self._front, axis=1) & np.any(row < self._front, axis=1)
        self._front = np.vstack([self._front[~worse], row])
        self._hypervolume = None

    def __len__(self) -> int:
        return len(self._front)

    def hypervolume(self) -> float:
        """Dominated volume up to a corner just beyond the worst complete trial so far."""
        if self._hypervolume is None:
            assert self._extremes is not None
            self._hypervolume = hypervolume(self._front, reference_point(self._extremes))
        return self._hypervolume
