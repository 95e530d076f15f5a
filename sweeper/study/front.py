"""The feasible non-dominated designs and the hypervolume they dominate, in a deterministic order.

Objectives are compared as they are, without noise margins; maximised ones are negated, so smaller is better here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from sweeper.space.objectives import Objective
from sweeper.study.trial import Trial

Points = NDArray[np.float64]
REFERENCE_MARGIN = 0.1  # of each objective's range
WIDE = 10.0  # objectives that span more than this factor on the front are compared by their logarithm


def competes(trial: Trial) -> bool:
    """Whether a trial may be on the front: complete, and inside the space (a baseline outside it has no parameters)."""
    return trial.status == "complete" and bool(trial.parameters or not trial.baseline)


def first_of_each(design_keys: Sequence[str]) -> list[int]:
    """Indices of the first trial of each design; a trial without a key is a design of its own."""
    first: dict[str | int, int] = {}
    for i, key in enumerate(design_keys):
        first.setdefault(key or i, i)
    return list(first.values())


def eligible(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that compete, one for each design (the first), by number."""
    ordered = sorted(filter(competes, trials), key=lambda t: t.number)
    return [ordered[i] for i in first_of_each([t.design_key for t in ordered])]


def points(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Points:
    """[trials, objectives], smaller is better."""
    rows = [[t.objectives[o.name] for o in objectives] for t in trials]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives)) * signs(objectives)


def signs(objectives: Sequence[Objective]) -> Points:
    """What turns objectives into costs: 1 for minimised ones, -1 for maximised ones."""
    return np.array([1.0 if o.direction == "minimize" else -1.0 for o in objectives])


def front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The non-dominated eligible trials (equal objective vectors all stay), by first objective, best first."""
    candidates = eligible(trials)
    if not candidates:
        return []
    table = points(candidates, objectives)
    kept = moocore.is_nondominated(table, keep_weakly=True)
    order = sorted(np.flatnonzero(kept), key=lambda i: (*table[i], candidates[i].number))
    return [candidates[i] for i in order]


def dominates(a: Points, b: Points) -> bool:
    """Whether costs `a` [objectives] are no worse than `b` anywhere and better somewhere."""
    return bool((a <= b).all() and (a < b).any())


def reference_point(table: Points) -> Points:
    """The corner that hypervolume is measured to.

    It is the worst value of each objective among all complete designs, moved out by a tenth of the range so that the
    extreme designs count too (by a tenth of the value where all are equal).
    """
    worst, best = table.max(axis=0), table.min(axis=0)
    margin = np.where(worst > best, worst - best, np.maximum(np.abs(worst), 1e-12))
    return np.asarray(worst + REFERENCE_MARGIN * margin)


def hypervolume(table: Points, reference: Points) -> float:
    """The volume dominated by the rows of `table` and bounded by `reference`; smaller objectives are better."""
    return float(moocore.hypervolume(table, ref=reference)) if len(table) else 0.0


def best_trial(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The eligible trial with the best value of one objective (the earliest of equals); None without any."""
    sign = signs([objective])[0]
    return min(eligible(trials), key=lambda t: (sign * t.objectives[objective.name], t.number), default=None)


def knee(table: Points) -> int:
    """The row of a front [designs, objectives] (smaller is better; maximised ones negated) nearest to the ideal point, the
    best of every objective at once (compromise programming; Zeleny, 1973); of equals the first."""
    return int(np.argmin(np.sqrt((scaled(table) ** 2).sum(axis=1))))


def scaled(table: Points) -> Points:
    """Each column from 0, its best, to 1, its worst; by logarithm where all its values have one sign and span more than WIDE."""
    result = np.zeros_like(table)
    for k, column in enumerate(table.T):
        sizes = np.abs(column)
        if (np.sign(column) == np.sign(column[0])).all() and sizes.min() > 0 and sizes.max() / sizes.min() > WIDE:
            column = np.sign(column[0]) * np.log(sizes)
        span = column.max() - column.min()
        result[:, k] = (column - column.min()) / span if span > 0 else 0.0
    return result


class Front:
    """Non-dominated points kept as they come in, oldest first: a few microseconds a point.

    ties: whether points that are equal in every objective all stay; otherwise the first does.
    """

    def __init__(self, objectives: int, *, ties: bool = False) -> None:
        self.costs: Points = np.empty((0, objectives))
        self.members: list[Any] = []  # what came with each point
        self._ties = ties

    def __len__(self) -> int:
        return len(self.members)

    def add(self, costs: Points, member: Any) -> bool:
        """Takes a point [objectives] into account; whether it is on the front now."""
        no_worse = (self.costs <= costs).all(axis=1)
        if bool((self.costs[no_worse] < costs).any() if self._ties else no_worse.any()):
            return False
        stays = np.asarray(~((costs <= self.costs).all(axis=1) & (costs < self.costs).any(axis=1)))
        if not stays.all():
            self.members = [held for held, stay in zip(self.members, stays, strict=True) if stay]
        self.costs = np.vstack([self.costs[stays], costs])
        self.members.append(member)
        return True


class LiveFront:
    """The front of a running sweep, the same as `front` of its trials, with its hypervolume when asked for."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives, self._signs = objectives, signs(objectives)
        self._front = Front(len(objectives), ties=True)
        self._extremes: Points | None = None  # [2, objectives]: best and worst of all complete trials
        self._hypervolume: float | None = 0.0
        self._keys: set[str] = set()  # of designs that were on the front once

    def add(self, trial: Trial) -> None:
        """Takes a trial into account."""
        if competes(trial):
            self.add_rows(np.array([[trial.objectives[o.name] for o in self._objectives]]), [trial.design_key])

    def add_rows(self, objectives: Points, design_keys: Sequence[str]) -> None:
        """Takes complete trials into account: their objectives [n, objectives], and the keys of their designs."""
        table = objectives * self._signs
        if not len(table):
            return
        extremes = self._extremes
        if extremes is None or bool((table < extremes[0]).any() or (table > extremes[1]).any()):
            seen = table if extremes is None else np.vstack([extremes, table])
            self._extremes, self._hypervolume = np.stack([seen.min(axis=0), seen.max(axis=0)]), None
        kept = np.flatnonzero(moocore.is_nondominated(table, keep_weakly=True)).tolist() if len(table) > 1 else [0]
        for i in kept:
            key = design_keys[i]
            if not (key and key in self._keys) and self._front.add(table[i], key):
                self._keys.add(key)
                self._hypervolume = None

    def __len__(self) -> int:
        return len(self._front)

    def best(self) -> list[float]:
        """The best value of each objective so far, as the objective has it; empty without a complete trial."""
        return [] if self._extremes is None else (self._extremes[0] * self._signs).tolist()

    def hypervolume(self) -> float:
        """Dominated volume up to a corner just beyond the worst complete trial so far."""
        if self._hypervolume is None:
            assert self._extremes is not None
            self._hypervolume = hypervolume(self._front.costs, reference_point(self._extremes))
        return self._hypervolume
