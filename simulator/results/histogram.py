"""Latencies as histograms with bins of constant relative width: those of a run too long to keep, and gaps between tokens.

The scheme of HdrHistogram (Tene, hdrhistogram.org): bins are octaves cut into 2^bits equal parts, here by the leading bits
of a float64, which ascend with it. Its guarantee is DDSketch's (Masson, Rim and Lee, VLDB 2019): the middle of a bin is
within 2^-(bits + 1) of every value in it, so every percentile is within that of the exact one, whatever the distribution.
Counts of parts of a run, and of replicas, add up.

Requests are counted here (BITS, from 1 ns on, bin 0 below); gaps by the engine (`gap_histogram`: whole ns, each in a bin of its
own up to where the bins are wider).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.engine.gap_histogram import MANTISSA_BITS

Counts = NDArray[np.int64]
Float64 = NDArray[np.float64]
BITS = 10  # 1024 bins per octave
ERROR = 0.5 ** (BITS + 1)  # relative: 0.049 %
OCTAVES = 64  # up to 2^63: every int64 has a bin
BINS = (OCTAVES << BITS) + 1  # bin 0: below 1 ns
_LOWEST = (1023 << BITS) - 1  # leading bits of 1.0, less its bin


def new_histogram() -> Counts:
    """Counts of an empty histogram."""
    return np.zeros(BINS, np.int64)


def add_to_histogram(counts: Counts, values_ns: Float64) -> None:
    """Counts `values_ns`, float64 of whole ns from 0 to 2^63."""
    bins = np.maximum((values_ns.view(np.int64) >> (52 - BITS)) - _LOWEST, 0)
    if len(bins):
        found = np.bincount(bins)
        counts[: len(found)] += found


def percentiles_ns(counts: Counts, percentiles: Sequence[float], rejected: int = 0) -> list[float]:
    """Percentiles of all counted values, interpolated between order statistics as numpy does; 0 where there are none. rejected:
    requests without a value that come last: what falls among them is infinite."""
    below = np.cumsum(counts)
    last = int(below[-1]) - 1
    if last < 0:
        return [0.0] * len(percentiles)
    ranks = np.array(percentiles) * (last + rejected) / 100
    lower = np.floor(ranks).astype(np.int64)
    upper = np.minimum(lower + 1, last + rejected)
    bins = (np.searchsorted(below, np.minimum(rank, last), side="right") for rank in (lower, upper))
    low, high = (np.where(at > 0, (_edge(at, BITS, _LOWEST) + _edge(at + 1, BITS, _LOWEST)) / 2, 0.0) for at in bins)
    reached = np.where(ranks > lower, upper, lower)
    return np.where(reached <= last, low + (high - low) * (ranks - lower), np.inf).tolist()


def gap_percentiles_ns(counts: Counts, percentiles: Sequence[float]) -> list[float]:
    """Order statistics of the gaps that an engine counted, within 0.4 %; 0 where there are none."""
    below = np.cumsum(counts)
    last = int(below[-1]) - 1
    if last < 0:
        return [0.0] * len(percentiles)
    at = np.searchsorted(below, [percentile / 100 * last for percentile in percentiles], side="right")
    lowest = (1022 + MANTISSA_BITS) << MANTISSA_BITS
    wide = np.maximum(at, 1 << MANTISSA_BITS)
    middles = (_edge(wide, MANTISSA_BITS, lowest) + _edge(wide + 1, MANTISSA_BITS, lowest) - 1) / 2  # of whole numbers
    return np.where(at < wide, at, middles).tolist()


def _edge(bins: Counts, bits: int, lowest: int) -> Float64:
    """The least value in each bin; `lowest`: the leading bits of a value, less its bin."""
    return ((bins + lowest) << (52 - bits)).view(np.float64)
