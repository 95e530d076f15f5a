"""Searches that do not learn: all points in order, and random points."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sweeper.search.base import Proposal
from sweeper.space import Space
from sweeper.trial import Trial


class Exhaustive:
    """Every point once, the last parameter varying fastest; nothing is held in memory."""

    name = "exhaustive"

    def __init__(self, space: Space) -> None:
        self._points = space.enumerate()

    def ask(self) -> Proposal | None:
        point = next(self._points, None)
        return None if point is None else Proposal(point)

    def tell(self, proposal: Proposal, trial: Trial | None) -> None:
        pass

    def replay(self, trials: Sequence[Trial]) -> None:
        pass


class Random:
    """Independent points, each parameter even over its values."""

    name = "random"

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._random = space, random.Random(seed)

    def ask(self) -> Proposal | None:
        return Proposal(self._space.sample(self._random))

    def tell(self, proposal: Proposal, trial: Trial | None) -> None:
        pass

    def replay(self, trials: Sequence[Trial]) -> None:
        pass
