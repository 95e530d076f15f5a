"""The filter between search and workers: proposals without repeats and without points that are illegal as written."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.search.base import Point, Proposal, Search
from sweeper.space.legality import broken_rule
from sweeper.space.space import Space
from sweeper.study.trial import Trial

MAX_REPEATS = 20  # proposals of known points in a row before an unseen random one stands in
MAX_RANDOM = 2_000  # random points tried before the space counts as exhausted
MAX_JUDGED = 10_000  # points whose legality is remembered


class Proposals:
    """Wraps a search. Repeats are answered from memory and never simulated; they cost no trial."""

    def __init__(self, space: Space, seed: int, rejected: Counter[str] | None = None, first: Sequence[Point] = ()) -> None:
        """rejected: counts proposals that missed a constraint as written, by its name. first: points that come before the
        search's own, which learns from them as from any other."""
        self._first = list(reversed(first))
        self._space = space
        self._random = random.Random(seed)
        self._known: dict[str, Trial | None] = {}  # None: under evaluation
        self._judged: dict[str, str | None] = {}  # by key: what `broken_rule` says
        self.rejected = Counter[str]() if rejected is None else rejected

    def remember(self, trials: Sequence[Trial]) -> None:
        """Points of an earlier run: they are not evaluated again."""
        self._known.update({self._space.key(t.parameters): t for t in trials if not t.baseline})

    def skip(self, point: Mapping[str, Any]) -> bool:
        """Whether a point is known or illegal: what a sampler should not bother to propose."""
        key = self._space.key(point)
        return key in self._known or self._broken_rule(key, point) is not None

    def next(self, search: Search) -> Proposal | None:
        """A new, legal point, marked as under evaluation; None when there is none left."""
        repeats = 0
        while repeats < MAX_REPEATS:
            proposal = Proposal(self._first.pop()) if self._first else search.ask()
            if proposal is None:
                return None
            key = self._space.key(proposal.point)
            rule = self._broken_rule(key, proposal.point)
            if rule is None and key not in self._known:
                self._known[key] = None
                return proposal
            if rule is not None:
                self.rejected[rule] += 1
            search.tell(proposal, self._known.get(key))
            repeats += 1
        return self._unseen()

    def finished(self, proposal: Proposal, trial: Trial) -> None:
        """Remembers what became of a point."""
        self._known[self._space.key(proposal.point)] = trial

    def _broken_rule(self, key: str, point: Mapping[str, Any]) -> str | None:
        """`broken_rule`, once for each point: samplers ask about the same one several times."""
        if key not in self._judged:
            if len(self._judged) >= MAX_JUDGED:
                self._judged.clear()
            self._judged[key] = broken_rule(self._space, point)
        return self._judged[key]

    def _unseen(self) -> Proposal | None:
        for _ in range(MAX_RANDOM):
            point = self._space.sample(self._random)
            key = self._space.key(point)
            if key not in self._known and broken_rule(self._space, point) is None:
                self._known[key] = None
                return Proposal(point)
        return None
