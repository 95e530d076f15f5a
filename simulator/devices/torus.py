"""The number of ranks along each dimension of a torus."""

from __future__ import annotations

import math
from functools import cache


@cache
def sides(ranks: int, dimensions: int) -> tuple[int, ...]:
    """Ranks along each dimension, longest last: the split of `ranks` with the fewest hops (least sum of sides)."""
    if dimensions == 1:
        return (ranks,)
    shortest = (d for d in range(1, math.isqrt(ranks) + 1) if ranks % d == 0)
    return min((tuple(sorted((d, *sides(ranks // d, dimensions - 1)))) for d in shortest), key=lambda split: (sum(split), split))


def busy_share(split: tuple[int, ...]) -> float:
    """Share of a device's links that a collective can use: a dimension with one rank has no peer to send to."""
    return max(1, sum(side > 1 for side in split)) / len(split)
