"""The search for the highest rate that passes a noisy, nearly monotone test: bracketing, secant steps and bisection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

FLOOR = 1 / 1024  # of the top: below it a design counts as never meeting its targets
GROWTH = 1.3  # first step away from a guess without a history; steps are squared as they go on
PROBES = (2.0, 5.0)  # tolerances below the answer at which the monotone guard looks again
MAX_RESTARTS = 8  # of the guard


@dataclass(frozen=True)
class Threshold:
    """rate: the highest that passed, 0 where none does; fails: the lowest known to fail above it (None: the top passed)."""

    rate: float
    fails: float | None
    runs: int


def highest(excess: Callable[[float], float], top: float, guess: float, tolerance: float,
            growth: float = GROWTH) -> Threshold:
    """The threshold of `excess` (<= 0 passes) below `top`, within `tolerance` (relative).

    Monotone guard: rates just below the answer are tried, too; where one fails, the search goes on below it, so that the
    answer is the lower of two crossings that lie close together.
    """
    known: dict[float, float] = {}

    def tried(rate: float) -> float:
        if rate not in known:
            known[rate] = excess(rate)
        return known[rate]

    if tried(top) <= 0:
        low, high = top, None
    else:
        low, high = _bracket(tried, top, min(guess, top / (1 + tolerance)), growth)
        low, high = _narrowed(tried, low, high, tolerance)
    for _ in range(MAX_RESTARTS):
        failed = [low / (1 + k * tolerance) for k in PROBES if low and tried(low / (1 + k * tolerance)) > 0]
        if not failed:
            break
        low, high = _bracket(tried, failed[-1], failed[-1] / (1 + 2 * tolerance), 1 + 2 * tolerance)
        low, high = _narrowed(tried, low, high, tolerance)
    return Threshold(low, high, len(known))


def _bracket(tried: Callable[[float], float], top: float, guess: float, growth: float) -> tuple[float, float]:
    """(passes, fails) around the threshold; passes is 0 where nothing above the floor does. `top` fails."""
    floor = top * FLOOR
    if tried(guess) <= 0:
        low = guess
        while low * growth < top:
            if tried(low * growth) > 0:
                return low, low * growth
            low, growth = low * growth, growth * growth
        return low, top
    high = guess
    while high > floor:
        low = max(high / growth, floor)
        if tried(low) <= 0:
            return low, high
        high, growth = low, growth * growth
    return 0.0, high


def _narrowed(tried: Callable[[float], float], low: float, high: float, tolerance: float) -> tuple[float, float]:
    """A bracket no wider than the tolerance: secant steps in turn with bisection, both over the logarithm."""
    secant = True
    while low and high > low * (1 + tolerance):
        width, share = math.log(high / low), 0.5
        below, above = tried(low), tried(high)
        if secant and math.isfinite(below) and math.isfinite(above):
            share = min(max(-below / (above - below), 0.1), 0.9)
        middle = low * math.exp(share * width)
        if tried(middle) <= 0:
            low = middle
        else:
            high = middle
        secant = not secant
    return low, high
