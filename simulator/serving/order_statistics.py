"""Latencies of every request and their order statistics, compiled: one sweep over the requests, one over each latency.

A percentile needs two neighbours in sorted order, not a sort. The first sweep counts values by bins of 3 % width (the
leading bits of a float64, which ascend with it); the bins that hold the wanted ranks are then collected and only they
are sorted. Exact, for values from 0 to 2^53.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import njit, types
from numba.extending import register_jitable
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MANTISSA_BITS = 5
LOWEST = 1023 << MANTISSA_BITS  # leading bits of 1.0: what is below shares bin 0
BINS = (54 << MANTISSA_BITS) + 1
TTFT, TPOT, E2E, QUEUEING, KINDS = range(5)
FINISHED, SEVERAL, MET, TOKEN_GAPS, GAPS_NS, TOTALS = range(6)

_times, _tokens = (types.Array(dtype, 1, "C", readonly=True) for dtype in (types.int64, types.int32))
_floats, _ints, _values, _table = types.float64[::1], types.int64[::1], types.float64[:, ::1], types.int64[:, ::1]
_MEASURE = types.void(*[_times] * 4, _tokens, _floats, _values, _table, _ints, _floats)
_COLLECT = types.void(_floats, types.int64, _ints, _floats)


@functools.cache
def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """`measure` or `_collect`, compiled or loaded from numba's cache."""
    signature = _MEASURE if function is measure else _COLLECT
    made: Callable[..., None] = njit(signature, cache=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True)(function)
    return made


def warm() -> None:
    """Compiles both, or loads them."""
    compiled(measure)
    compiled(_collect)


@register_jitable
def _bin(value):  # type: ignore[no-untyped-def]
    return max((np.float64(value).view(np.int64) >> (52 - MANTISSA_BITS)) - LOWEST + 1, 0)


def measure(arrival, scheduled, first, finish, output, targets, values, counts, totals, sums):  # type: ignore[no-untyped-def]
    """Latencies in ns of the requests that finished (finish >= 0), into `values` [KINDS, n] from the left; TPOT only of
    those with several tokens. Counts them by bin [KINDS, BINS], writes `totals` [TOTALS] and `sums` [KINDS].

    targets [KINDS]: most ns that meet the SLO, infinite where there is none.
    """
    finished = several = met = token_gaps = gaps_ns = 0
    for i in range(len(finish)):
        if finish[i] < 0:
            continue
        ttft, e2e, queueing = first[i] - arrival[i], finish[i] - arrival[i], scheduled[i] - arrival[i]
        tpot = 0.0
        if output[i] > 1:
            decode, gaps = finish[i] - first[i], output[i] - 1
            tpot = decode / gaps
            values[TPOT, several] = tpot
            counts[TPOT, _bin(tpot)] += 1
            sums[TPOT] += tpot
            several += 1
            token_gaps += gaps
            gaps_ns += decode
        values[TTFT, finished], values[E2E, finished], values[QUEUEING, finished] = ttft, e2e, queueing
        counts[TTFT, _bin(ttft)] += 1
        counts[E2E, _bin(e2e)] += 1
        counts[QUEUEING, _bin(queueing)] += 1
        sums[TTFT] += ttft
        sums[E2E] += e2e
        sums[QUEUEING] += queueing
        met += ttft <= targets[TTFT] and tpot <= targets[TPOT] and e2e <= targets[E2E]
        finished += 1
    totals[FINISHED], totals[SEVERAL], totals[MET] = finished, several, met
    totals[TOKEN_GAPS], totals[GAPS_NS] = token_gaps, gaps_ns


def _collect(values, n, ends, found):  # type: ignore[no-untyped-def]
    """Puts every value whose bin is wanted (`ends` >= 0: where its next value goes) into `found`."""
    for i in range(n):
        b = _bin(values[i])
        if ends[b] >= 0:
            found[ends[b]] = values[i]
            ends[b] += 1


def order_statistics(values: Float64, counts: Int64, ranks: list[int]) -> dict[int, float]:
    """The values of these ranks (0: the smallest) among the first `counts.sum()` of `values` [n], counted by bin."""
    below = np.cumsum(counts)
    wanted = np.unique(np.searchsorted(below, np.array(ranks), side="right"))
    sizes = counts[wanted]
    starts = np.cumsum(sizes) - sizes
    ends = np.full(BINS, -1, np.int64)
    ends[wanted] = starts
    found = np.empty(int(sizes.sum()))
    compiled(_collect)(values, int(below[-1]), ends, found)
    result = {}
    for b, start, size in zip(wanted, starts, sizes, strict=True):
        ordered = np.sort(found[start : start + size])
        first = int(below[b] - size)
        result.update({rank: float(ordered[rank - first]) for rank in ranks if first <= rank < first + size})
    return result
