"""The choice that `auto` makes for a space: every point where that is affordable, else a search that learns.

Among those, `gp` finds most with few simulations (scripts/bench_search.py); it needs discrete parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.space.space import Space

AUTO_SECONDS = 30.0  # of evaluation (all workers) that are worth a complete answer


@dataclass(frozen=True)
class Choice:
    """A sampler, and why in words."""

    sampler: str
    why: str


def choose(space: Space, *, trials: int, seconds_per_trial: float | None) -> Choice:
    """`exhaustive` where the budget covers the space, or the whole of it takes AUTO_SECONDS at the measured cost.

    seconds_per_trial: wall time on average over all workers; None where `trials` must be kept to.
    """
    if any(parameter.domain.count is None for parameter in space.parameters):
        return Choice("tpe", "the space has a continuous range")
    size = space.size()
    if size is None:
        return Choice("gp", "the space is too large to count")
    if size <= trials:
        return Choice("exhaustive", f"the space has {size:,} designs, no more than the {trials:,} trials")
    if seconds_per_trial is not None and size * seconds_per_trial <= AUTO_SECONDS:
        return Choice("exhaustive", f"all {size:,} designs take about {size * seconds_per_trial:.0f} s")
    return Choice("gp", f"the space has {size:,} designs")
