"""Latencies of every request and their order statistics, compiled: one sweep over the requests, one over each latency.

A percentile needs two neighbours in sorted order, not a sort. The first sweep counts values by bins of 3 % width (the
leading bits of a float64, which ascend with it); the bins that hold the wanted ranks are then collected, and the ranks
selected inside them. Exact for every int64 of ns: what is above 2^53 is a float64 first, as in numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import njit, types
from numba.extending import register_jitable
from numpy.typing import NDArray

inlined = register_jitable(forceinline=True)

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MANTISSA_BITS = 5
LOWEST = 1023 << MANTISSA_BITS  # leading bits of 1.0: what is below shares bin 0
BINS = (64 << MANTISSA_BITS) + 1  # up to 2^63: no int64 leads past the last one
TTFT, TPOT, E2E, QUEUEING, KINDS = range(5)
FINISHED, SEVERAL, MET, TOKEN_GAPS, GAPS_NS, TOTALS = range(6)

_times, _tokens = (types.Array(dtype, 1, "C", readonly=True) for dtype in (types.int64, types.int32))
_floats, _ints, _values, _table = types.float64[::1], types.int64[::1], types.float64[:, ::1], types.int64[:, ::1]
_MEASURE = types.void(*[_times] * 4, _tokens, _floats, _values, _table, _ints, _floats)
_PERCENTILES = types.void(_values, _table, _ints, _ints, _ints, _floats, _values)


@functools.cache
def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """`measure` or `percentiles`, compiled or loaded from numba's cache."""
    signature = _MEASURE if function is measure else _PERCENTILES
    made: Callable[..., None] = njit(signature, cache=True, nogil=True)(function)
    return made


def warm() -> None:
    """Compiles both, or loads them."""
    compiled(measure)
    compiled(percentiles)


@inlined
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


def percentiles(values, counts, sizes, shares, ends, space, found):  # type: ignore[no-untyped-def]
    """Percentiles `shares` of the first sizes[kind] of `values` [KINDS, n], counted by bin, into `found` [KINDS, shares]
    (untouched where there are none): interpolated linearly between order statistics (Hyndman and Fan's definition 7).

    ends [BINS], all -1: where the next value of a wanted bin goes; left as it was. space [n]: room for these values.
    """
    for kind in range(len(values)):
        last = sizes[kind] - 1
        if last < 0:
            continue
        b, below, filled = 0, counts[kind, 0], 0
        for share in shares:
            for upper in range(2):
                b, below = _move(counts[kind], b, below, min(int(share * last / 100) + upper, last))
                if ends[b] < 0:
                    ends[b] = filled
                    filled += counts[kind, b]
        for i in range(last + 1):
            at = _bin(values[kind, i])
            if ends[at] >= 0:
                space[ends[at]] = values[kind, i]
                ends[at] += 1
        low = high = 0.0
        for k in range(len(shares)):
            rank = shares[k] * last / 100
            for upper in range(2):
                wanted = min(int(rank) + upper, last)
                b, below = _move(counts[kind], b, below, wanted)
                low, high = high, _select(space, ends[b] - counts[kind, b], ends[b] - 1, ends[b] + wanted - below)
            found[kind, k] = low + (high - low) * (rank - int(rank))
        ends[:] = -1


@inlined
def _move(counts, b, below, rank):  # type: ignore[no-untyped-def]
    """From bin b to the one that holds `rank`; `below` counts the values up to a bin, itself included."""
    while below <= rank:
        b += 1
        below += counts[b]
    while below - counts[b] > rank:
        below -= counts[b]
        b -= 1
    return b, below


@inlined
def _select(values, low, high, k):  # type: ignore[no-untyped-def]
    """What would stand at `k` if values[low] to values[high] were sorted; reorders them (Hoare 1961, algorithm 65)."""
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]
