"""The front as trials come in: a few microseconds a trial, hypervolume when somebody looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sweeper.space.space import Space
from sweeper.study.front import Points, hypervolume, reference_point, signs
from sweeper.study.trial import Trial


class LiveFront:
    """The same front as `sweeper.study.front.front`, kept as objective vectors."""

    def __init__(self, space: Space) -> None:
        self._names = [objective.name for objective in space.objectives]
        self._signs = signs(space.objectives)
        self._front: Points = np.empty((0, len(space.objectives)))
        self._extremes: Points | None = None  # [2, objectives]: best and worst of all complete trials
        self._hypervolume: float | None = 0.0
        self._keys: set[str] = set()  # of designs that were on the front once

    def add(self, trial: Trial) -> None:
        """Takes a trial into account."""
        if trial.status == "complete" and (trial.parameters or not trial.baseline):
            self.add_rows(np.array([[trial.objectives[name] for name in self._names]]) * self._signs, [trial.design_key])

    def add_rows(self, table: Points, design_keys: Sequence[str]) -> None:
        """Takes complete trials into account: [n, objectives], smaller is better, and the keys of their designs."""
        if not len(table):
            return
        extremes = self._extremes
        if extremes is None or bool((table < extremes[0]).any() or (table > extremes[1]).any()):
            seen = table if extremes is None else np.vstack([extremes, table])
            self._extremes, self._hypervolume = np.stack([seen.min(axis=0), seen.max(axis=0)]), None
        candidates = np.flatnonzero(~self._dominated(table)).tolist() if len(table) > 1 else [0]
        for i in candidates:
            self._add_row(table[i], design_keys[i])

    def _add_row(self, row: Points, key: str) -> None:
        if (key and key in self._keys) or bool(self._dominated(row[None])[0]):
            return
        self._keys.add(key)
        worse = np.all(row <= self._front, axis=1) & np.any(row < self._front, axis=1)
        self._front = np.vstack([self._front[~worse], row])
        self._hypervolume = None

    def _dominated(self, table: Points) -> NDArray[np.bool_]:
        """Which rows some design of the front beats."""
        if len(table) == 1:
            no_worse = (self._front <= table).all(axis=1)
            return np.array([bool((self._front[no_worse] < table).any())])
        no_worse = np.ones((len(table), len(self._front)), dtype=bool)
        better = np.zeros_like(no_worse)
        for column in range(table.shape[1]):
            own, best = table[:, column, None], self._front[None, :, column]
            no_worse &= best <= own
            better |= best < own
        return np.asarray((no_worse & better).any(axis=1))

    def __len__(self) -> int:
        return len(self._front)

    def best(self) -> list[float]:
        """The best value of each objective so far, as the objective has it; empty without a complete trial."""
        return [] if self._extremes is None else (self._extremes[0] * self._signs).tolist()

    def hypervolume(self) -> float:
        """Dominated volume up to a corner just beyond the worst complete trial so far."""
        if self._hypervolume is None:
            assert self._extremes is not None
            self._hypervolume = hypervolume(self._front, reference_point(self._extremes))
        return self._hypervolume
