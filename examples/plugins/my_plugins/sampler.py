"""A sampler: random points, and for every design that turned out feasible a neighbour that differs in one parameter."""

import random
from collections.abc import Sequence

from sweeper.search.base import Proposal, Skip
from sweeper.space.space import Space
from sweeper.study.trial import Trial


class Neighbours:
    """Deterministic in the seed and the order of calls, as every search."""

    name = "neighbours"

    def __init__(self, space: Space, *, seed: int, skip: Skip) -> None:
        self._space, self._random, self._skip = space, random.Random(seed), skip
        self._good: list[Trial] = []

    def ask(self) -> Proposal | None:
        point = self._space.sample(self._random)
        if self._good and self._random.random() < 0.5:
            kept = dict(self._random.choice(self._good).parameters)
            changed = self._random.choice(list(point))
            point = self._space.canonical({**point, **kept, changed: point[changed]})
        return Proposal(point)

    def tell(self, proposal: Proposal, trial: Trial | None) -> None:
        if trial is not None and trial.status == "complete":
            self._good.append(trial)

    def replay(self, trials: Sequence[Trial]) -> None:
        self._good.extend(trial for trial in trials if trial.status == "complete")
