"""Pareto local search: neighbours of the designs on the front, after a start by another search.

Paquete, Chiarandini & Stuetzle (2004). A proposal changes one setting of a front member by a step (ordered) or to any
value (unordered); members are taken in turn, and one whose neighbours are all known is passed over. It costs next to
nothing, so it is for budgets of many thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeper.search.base import Proposal, Search, Skip
from sweeper.search.codes import ABSENT, Coder, Codes
from sweeper.space.space import Space
from sweeper.study.front import Front, points
from sweeper.study.trial import Trial

START_TRIALS = 200  # of the search that finds a first front


class Local:
    """The search called `local`: `start` proposes first. Every parameter must be discrete."""

    name = "local"

    def __init__(self, space: Space, seed: int, skip: Skip, start: Search) -> None:
        self._space, self._skip, self._start = space, skip, start
        self._rng = np.random.default_rng(seed)
        self._coder = Coder(space)
        self._front = Front(len(space.objectives))  # members: rows of codes
        self._told = self._turn = 0

    def ask(self) -> Proposal | None:
        if self._told < START_TRIALS or not len(self._front):
            return self._start.ask()
        for _ in range(len(self._front)):
            self._turn += 1
            neighbours = self._neighbours(self._front.members[self._turn % len(self._front)])
            for row in neighbours[self._rng.permutation(len(neighbours))]:
                point = self._coder.decode(row)
                if not self._skip(point):
                    return Proposal(point)
        return Proposal(self._coder.decode(self._coder.random(self._rng, 1)[0]))

    def tell(self, proposal: Proposal, trial: Trial | None) -> None:
        if self._told < START_TRIALS:
            self._start.tell(proposal, trial)
        if trial is not None:
            self._told += 1
            self._learn(proposal.point, trial)

    def replay(self, trials: Sequence[Trial]) -> None:
        ours = [trial for trial in trials if trial.parameters]
        self._start.replay(ours[:START_TRIALS])
        for trial in ours:
            self._told += 1
            self._learn(trial.parameters, trial)

    def _learn(self, point: dict[str, object], trial: Trial) -> None:
        if trial.status == "complete":
            self._front.add(points([trial], self._space.objectives)[0], self._coder.encode(point))

    def _neighbours(self, row: Codes) -> Codes:
        """Every canonical row one change away."""
        full = np.where(row == ABSENT, self._rng.integers(0, self._coder.counts), row)
        rows = []
        for i in np.flatnonzero(row != ABSENT):
            steps = range(self._coder.counts[i]) if self._coder.unordered[i] else (row[i] - 1, row[i] + 1)
            for value in steps:
                if 0 <= value < self._coder.counts[i] and value != row[i]:
                    changed = full.copy()
                    changed[i] = value
                    rows.append(changed)
        return self._coder.canonical(np.array(rows))
