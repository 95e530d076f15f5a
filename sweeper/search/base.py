"""The interface of all searches: they propose points, and receive the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sweeper.study.trial import Trial

Point = dict[str, Any]  # canonical
Skip = Callable[[Mapping[str, Any]], bool]  # whether a canonical point needs no proposal: seen, or statically illegal


@dataclass(frozen=True)
class Proposal:
    """A point to evaluate. `handle` is the search's own, handed back with the result."""

    point: Point
    handle: Any = None


class Search(Protocol):
    """A strategy. Deterministic in its seed and in the order of calls."""

    name: str

    def ask(self) -> Proposal | None:
        """The next point (it may repeat an earlier one), or None when the space is exhausted."""
        ...

    def tell(self, proposal: Proposal, trial: Trial | None) -> None:
        """What became of a proposal; None: it was dropped without a result."""
        ...

    def replay(self, trials: Sequence[Trial]) -> None:
        """Takes over the trials of an earlier run, in their order."""
        ...
