"""The end of a search: the best design of each objective is improved until no neighbour is better.

A search that follows hypervolume may end one setting away from the best design of an objective, or in another valley. So
the last share of the trials goes to the extremes: by turns a neighbour of the best design of an objective or of the
compromise between them (every change of one setting, then of two), and the design anywhere in the space of which a
Gaussian process hopes for the best value of one objective. When the best designs change, so do the neighbours. What is
left over is the sampler's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.search.codes import ABSENT, Coder, Codes, Conditions, Float64
from sweeper.search.gaussian import Gaussian, fit, length_scales
from sweeper.space.space import Space, Values
from sweeper.study.front import Front, knee, points
from sweeper.study.trial import Trial

SHARE = 0.25  # of the trials
LATER = 4  # every so many trials after the planned ones (a study that was given more) is a neighbour, too
MOST_ROWS = 240  # designs that the process is fitted to
SCALE_ROWS = 100  # of them, that its length scales are fitted to
REFIT = 12  # results between two fits
ANYWHERE = 500  # random designs, besides changes of a few settings of the best ones
OPTIMISM = (0.5, 1.5, 3.0)  # standard deviations, in turns
WORST_VIOLATION = 3.0  # a constraint missed by more than 300 % teaches no more than that
TIE, BEHIND = 0.01, 0.6  # of the best value: a design that is no better, one too far behind to be improved to it
ELSEWHERE = 0  # changes of settings: any
PENALTY = 10.0  # on a violation that is expected, in standard deviations of an objective


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
        self._rng = np.random.default_rng(0)
        self._turn = 0
        self._done: set[tuple[bytes, int]] = set()  # (design, settings changed): every neighbour is known
        self._queues: dict[tuple[bytes, int, int], list[Codes]] = {}  # designs to propose, likeliest last
        self._visits: Counter[tuple[int, bytes]] = Counter()  # (objective, design of a valley)
        self._model: Gaussian | None = None
        self._fitted = -REFIT
        self._scales = np.ones(len(self._coder.counts))

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
        """The next design to evaluate; None where the sampler should propose."""
        if not len(self._front):
            return None
        if len(self._rows) >= self._fitted + REFIT:
            self._fit()
        self._turn += 1
        targets = self._targets()
        single = [t for t in targets if t[0] >= 0]
        targets, single = _turned(targets, self._turn // 2), _turned(single, self._turn // 4)
        match self._turn % 4:
            case 0:
                return self._first(single, ELSEWHERE)
            case 2:
                return self._first(self._valleys(single[0][0]), 1) or self._first(single, ELSEWHERE)
            case _:
                return self._first(targets, 1) or self._first(self._valleys(single[0][0]), 1) or self._first(single, ELSEWHERE)

    def _first(self, targets: list[tuple[int, Codes]], changes: int) -> Values | None:
        """Of the first target that has a new, legal candidate."""
        for column, row in targets:
            found = self._candidate(row, column, changes)
            if found is not None:
                return found
        return None

    def _targets(self) -> list[tuple[int, Codes]]:
        """(objective, -1 for all; the row of its best design)."""
        table = self._front.costs
        best = [(k, self._front.members[int(np.lexsort((*np.delete(table, k, axis=1).T, table[:, k]))[0])])
                for k in range(table.shape[1])]
        return best if table.shape[1] == 1 else [*best, (-1, self._front.members[knee(table)])]

    def _valleys(self, column: int) -> list[tuple[int, Codes]]:
        """The best designs of an objective with a value that its best design does not have, those tried less first."""
        rows, feasible = np.array(self._rows), np.array(self._violations) <= 0
        rows, costs = rows[feasible], np.array(self._costs)[feasible, column]
        best = costs.min()
        found: dict[bytes, tuple[int, float, Codes]] = {}
        for i in range(rows.shape[1]):
            for value in np.unique(rows[:, i]):
                having = np.flatnonzero(rows[:, i] == value)
                at = having[np.argmin(costs[having])]
                behind = abs(costs[at] - best) / max(abs(best), 1e-12)
                if TIE < behind < BEHIND:
                    key = rows[at].tobytes()
                    found[key] = self._visits[column, key], costs[at], rows[at]
        ordered = sorted(found.values(), key=lambda valley: valley[:2])
        if ordered:
            self._visits[column, ordered[0][2].tobytes()] += 1
        return [(column, row) for _, _, row in ordered]

    def _candidate(self, row: Codes, column: int, changes: int) -> Values | None:
        if (row.tobytes(), changes) in self._done:
            return None
        key = row.tobytes(), changes, column
        if key not in self._queues:
            self._queues[key] = self._sorted(self._all(row, changes), column, changes)
        queue = self._queues[key]
        while queue:
            point = self._point(queue.pop())
            if not self._skip(point):
                return point
        if changes != ELSEWHERE:
            self._done.add((row.tobytes(), changes))
        return None

    def _all(self, row: Codes, changes: int) -> Codes:
        """Neighbours of a design; ELSEWHERE: those with a few changes, and random ones."""
        if changes != ELSEWHERE:
            return self._coder.neighbours(row, np.zeros_like(row))
        drawn = self._rng.integers(0, self._coder.counts, (2 * ANYWHERE, len(row)))
        keep = self._rng.random(drawn.shape) < 0.65
        keep[ANYWHERE:] = False
        return np.unique(self._coder.canonical(np.where(keep & (row != ABSENT), row, drawn)), axis=0)

    def _fit(self) -> None:
        """The process through the best designs of each objective and a random share of the others."""
        rows, violations = np.array(self._rows), np.array(self._violations)
        costs = _even(np.array(self._costs))
        ranked = np.argsort(costs + PENALTY * np.maximum(violations, 0.0)[:, None], axis=0, kind="stable")
        use = np.unique(ranked[: MOST_ROWS // 2 // costs.shape[1]])
        others = np.setdiff1d(np.arange(len(rows)), use)
        use = np.concatenate([use, self._rng.choice(others, min(len(others), MOST_ROWS - len(use)), replace=False)])
        outputs = np.column_stack([costs, violations])[use]
        features = self._coder.features(rows[use])
        few = self._rng.choice(len(use), min(len(use), SCALE_ROWS), replace=False)
        self._scales = length_scales(features[few], outputs[few], self._coder.owners, self._scales)
        self._model = fit(features, outputs, self._scales[self._coder.owners])
        self._fitted = len(self._rows)
        self._queues.clear()

    def _sorted(self, candidates: Codes, column: int, changes: int) -> list[Codes]:
        """The candidates, those last that promise most of the objective (-1: of all, by the sum of scaled values)."""
        assert self._model is not None
        mean, deviation = self._model.predict(self._coder.features(candidates))
        hope = mean - OPTIMISM[len(self._rows) // REFIT % 3] * deviation
        aim = hope[:, column] if column >= 0 else hope[:, :-1].sum(axis=1)
        aim = aim + PENALTY * np.maximum(hope[:, -1], 0.0)
        best = np.argsort(aim, kind="stable")[: REFIT if changes == ELSEWHERE else None]
        return [candidates[i] for i in best[::-1]]

    def _point(self, row: Codes) -> Values:
        return self._space.decode({name: value for (name, value), i in zip(self._coder.decode(row).items(), row, strict=True)
                                   if i != ABSENT})

    def _defaults(self) -> dict[str, Any]:
        return self._coder.decode(np.zeros(len(self._coder.counts), dtype=np.int64))


def _turned(items: list[Any], by: int) -> list[Any]:
    return items[by % len(items):] + items[:by % len(items)]


def conditions_of(space: Space) -> Conditions:
    """Which of the space's parameters exist where, in terms of Optuna's parameters."""
    return Conditions([p.name for p in space.parameters if space.is_read(p)], lambda params: space.decode(params).keys())


def _even(costs: Float64) -> Float64:
    """Columns scaled to deviation 1, by logarithm where they have one sign."""
    signs = np.sign(costs[0])
    logs = (np.sign(costs) == signs).all(axis=0) & (signs != 0)
    even = np.where(logs, signs * np.log(np.abs(np.where(costs == 0, 1.0, costs))), costs)
    return even / np.maximum(even.std(axis=0), 1e-9)
