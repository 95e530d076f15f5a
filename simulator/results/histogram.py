"""Latencies of a run too long to keep, as a histogram with bins of constant relative width.

The scheme of HdrHistogram (Tene, hdrhistogram.org): bins are octaves cut into equal parts, here by the leading bits of a
float64, which ascend with it. Its guarantee is DDSketch's (Masson, Rim and Lee, VLDB 2019): the middle of a bin is within
`ERROR` of every value in it, so every percentile is within `ERROR` of the exact one, whatever the distribution. Counts of
parts of a run add up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
BITS = 10  # 1024 bins per octave
ERROR = 0.5 ** (BITS + 1)  # relative: 0.049 %
OCTAVES = 53  # up to 2^53 ns, 104 days, above which the engine's times are no longer exact as float64 either
BINS = (OCTAVES << BITS) + 1  # bin 0: below 1 ns
_SHIFT = 52 - BITS
_LOWEST = (1023 << BITS) - 1  # leading bits of 1.0, less its bin


def new_histogram() -> Counts:
    """Counts of an empty histogram."""
    return np.zeros(BINS, np.int64)


def add_to_histogram(counts: Counts, values_ns: NDArray[np.float64]) -> None:
    """Counts `values_ns`, float64 from 0 to 2^53."""
    bins = np.maximum((values_ns.view(np.int64) >> _SHIFT) - _LOWEST, 0)
    if len(bins):
        found = np.bincount(bins)
        counts[: len(found)] += found


def percentiles_ns(counts: Counts, percentiles: Sequence[float], rejected: int = 0) -> list[float]:
    """Percentiles of all counted values, interpolated between order statistics as numpy does; 0 where there are none. rejected:
    requests without a value that come last: what falls among them is infinite."""
    below = np.cumsum(counts)
    total = int(below[-1])
    if total == 0:
        return [0.0] * len(percentiles)
    ranks = np.array(percentiles) * (total + rejected - 1) / 100
    lower = np.floor(ranks).astype(np.int64)
    upper = np.minimum(lower + 1, total + rejected - 1)
    low, high = (_middle_ns(np.searchsorted(below, np.minimum(rank, total - 1), side="right")) for rank in (lower, upper))
    reached = np.where(ranks > lower, upper, lower)
    return np.where(reached < total, low + (high - low) * (ranks - lower), np.inf).tolist()


def _middle_ns(bins: Counts) -> NDArray[np.float64]:
    """The middle of bins; 0 for the one below 1 ns."""
    low, high = (((bins + k + _LOWEST) << _SHIFT).view(np.float64) for k in (0, 1))
    return np.where(bins > 0, (low + high) / 2, 0.0)
