"""Random search, which does not learn."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sweeper.search.base import Proposal
from sweeper.space.space import Space
from sweeper.study.trial import Trial


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
