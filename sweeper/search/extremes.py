"""The end of a search: neighbours of the best designs, until none is better.

A search that follows hypervolume may end one setting away from the best design of an objective. So the last share of the
trials goes to the neighbours of the best design of each objective and of the compromise between them (`sweeper.study.front.
knee`), in turns: first every change of one setting, then, every second time, of two. The likeliest come first, by a
Gaussian process of what is known. When the best designs change, so do the neighbours. What is left over is the sampler's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.search.codes import ABSENT, Coder, Codes, Conditions, Float64
from sweeper.search.gaussian import fit, length_scales
from sweeper.space.space import Space, Values
from sweeper.study.front import Front, knee, points
from sweeper.study.trial import Trial

SHARE = 0.25  # of the trials
LATER = 4  # every so many trials after the planned ones (a study that was given more) is a neighbour, too
MOST_ROWS = 150  # nearest designs that the process is fitted to
REFIT = 8  # trials between two fits
WORST_VIOLATION = 3.0


@dataclass(frozen=True)
class Polish:
    """When neighbours are due. trials: of the search, as planned."""

    trials: int

    def due(self, spent: int) -> bool:
        """Whether the next trial, after `spent`, may be a neighbour."""
        return spent % LATER == 0 if spent >= self.trials else spent >= (1 - SHARE) * self.trials


class Extremes:
    """The best designs as trials come in, and their neighbours. skip: tells points that are known or illegal."""

    def __init__(self, space: Space, skip: Callable[[Mapping[str, Any]], bool]) -> None:
        self._space, self._skip = space, skip
        self._coder = Coder(space.distributions(), conditions_of(space))
        self._front = Front(len(space.objectives))  # members: rows of codes
        self._rows: list[Codes] = []
        self._costs: list[Float64] = []
        self._violations: list[float] = []
        self._turn = 0
        self._done: set[tuple[bytes, int]] = set()  # (design, settings changed): every neighbour is known
        self._queues: dict[tuple[bytes, int, int], list[Codes]] = {}  # the same and the objective: neighbours, likeliest last
        self._fitted = -REFIT

    @staticmethod
    def possible(space: Space) -> bool:
        """Whether the space's designs have neighbours: every parameter is discrete."""
        return all(p.domain.count is not None for p in space.parameters)

    def learn(self, trial: Trial) -> None:
        """Takes a result into account."""
        if trial.status not in ("complete", "infeasible") or len(trial.objectives) < len(self._space.objectives):
            return
        row = self._coder.encode({**self._defaults(), **self._space.encode(trial.parameters)})
        costs = points([trial], self._space.objectives)[0]
        if not np.isfinite(costs).all():
            return
        self._rows.append(row)
        self._costs.append(costs)
        self._violations.append(min(max(trial.constraints.values(), default=-1.0), WORST_VIOLATION))
        if trial.status == "complete":
            self._front.add(costs, row)

    def next(self) -> Values | None:
        """The next neighbour to evaluate; None where the sampler should propose."""
        if not len(self._front):
            return None
        self._turn += 1
        for changes in (1, 2):
            if changes == 2 and self._turn % 2:
                return None
            for at in range(len(self._targets())):
                targets = self._targets()
                column, row = targets[(self._turn + at) % len(targets)]
                found = self._neighbour(row, column, changes)
                if found is not None:
                    return found
        return None

    def _targets(self) -> list[tuple[int, Codes]]:
        """(objective, -1 for all; the row of its best design)."""
        table = self._front.costs
        best = [(k, self._front.members[int(np.lexsort((*np.delete(table, k, axis=1).T, table[:, k]))[0])])
                for k in range(table.shape[1])]
        return best if table.shape[1] == 1 else [*best, (-1, self._front.members[knee(table)])]

    def _neighbour(self, row: Codes, column: int, changes: int) -> Values | None:
        if (row.tobytes(), changes) in self._done:
            return None
        key = row.tobytes(), changes, column
        if key not in self._queues or len(self._rows) >= self._fitted + REFIT:
            self._queues[key] = self._sorted(self._all(row, changes), row, column)
        queue = self._queues[key]
        while queue:
            point = self._point(queue.pop())
            if not self._skip(point):
                return point
        self._done.add((row.tobytes(), changes))
        return None

    def _all(self, row: Codes, changes: int) -> Codes:
        fill = np.zeros_like(row)
        near = self._coder.neighbours(row, fill)
        if changes == 2:
            near = np.unique(np.vstack([self._coder.neighbours(other, fill) for other in near]), axis=0)
        return near

    def _sorted(self, near: Codes, row: Codes, column: int) -> list[Codes]:
        """The neighbours, those last that promise most of the objective (of all, by the sum of scaled logs)."""
        rows, costs = np.array(self._rows), np.array(self._costs)
        use = np.argsort((rows != row).sum(axis=1), kind="stable")[:MOST_ROWS]
        aim = costs[:, column] if column >= 0 else _even(costs).sum(axis=1)
        outputs = np.column_stack([_even(aim[:, None]), np.array(self._violations)])[use]
        features = self._coder.features(rows[use])
        scales = length_scales(features, outputs, self._coder.owners, np.ones(len(row)), 1)
        mean, deviation = fit(features, outputs, scales[self._coder.owners]).predict(self._coder.features(near))
        self._fitted = len(self._rows)
        hope = mean[:, 0] - 0.5 * deviation[:, 0] + 10.0 * np.maximum(mean[:, 1] - deviation[:, 1], 0.0)
        return [near[i] for i in np.argsort(-hope, kind="stable")]

    def _point(self, row: Codes) -> Values:
        return self._space.decode({name: value for (name, value), i in zip(self._coder.decode(row).items(), row, strict=True)
                                   if i != ABSENT})

    def _defaults(self) -> dict[str, Any]:
        return self._coder.decode(np.zeros(len(self._coder.counts), dtype=np.int64))


def conditions_of(space: Space) -> Conditions:
    """Which of the space's parameters exist where, in terms of Optuna's parameters."""
    return Conditions([p.name for p in space.parameters if space.is_read(p)], lambda params: space.decode(params).keys())


def _even(costs: Float64) -> Float64:
    """Columns scaled to deviation 1, by logarithm where they have one sign."""
    signs = np.sign(costs[0])
    logs = (np.sign(costs) == signs).all(axis=0) & (signs != 0)
    even = np.where(logs, signs * np.log(np.abs(np.where(costs == 0, 1.0, costs))), costs)
    return even / np.maximum(even.std(axis=0), 1e-9)
