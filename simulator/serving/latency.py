"""Latency statistics of a run: exact ones for results in memory, and a histogram for runs too long to keep.

TTFT: first token minus arrival. TPOT: (last - first token) / (output tokens - 1), requests with one token left out.
E2E: last token minus arrival. Queueing: start of the first batch minus arrival. Percentiles interpolate linearly
between order statistics (numpy's default, Hyndman and Fan's definition 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.serving.config import EngineResult, Int64, Trace
from simulator.serving.gaps import BINS, MANTISSA_BITS

PERCENTILES = (50, 90, 95, 99)
Values = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Of one latency, in seconds; all 0 where no request has it."""

    mean_s: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True)
class Latency:
    """Latencies of all finished requests, and how many of them meet the targets."""

    finished: int
    rejected: int
    met_slo: int  # requests that meet every target
    ttft: Statistics
    tpot: Statistics
    e2e: Statistics
    queueing: Statistics
    itl: Statistics  # over all gaps between tokens: the mean exact, percentiles within 0.4 %, 0 where gaps were not counted


def latency(
    trace: Trace,
    result: EngineResult,
    *,
    max_model_len: int | None = None,
    ttft_slo_s: float | None = None,
    tpot_slo_s: float | None = None,
    e2e_slo_s: float | None = None,
) -> Latency:
    """Exact statistics. A target that is None is met by all; TPOT targets by requests with one token as well.

    `max_model_len`: where the engine cut outputs short (prompt + output above it), the limit it was given.
    """
    columns = (trace.arrival_ns, result.first_scheduled_ns, result.first_token_ns, result.finish_ns)
    arrival, scheduled, first, finish = columns
    output = trace.output_tokens
    if max_model_len is not None:
        output = np.minimum(output, max_model_len - trace.prompt_tokens)
    rejected = int(np.count_nonzero(finish < 0))
    if rejected:
        done = finish >= 0
        arrival, scheduled, first, finish = (column[done] for column in columns)
        output = output[done]
    ttft, e2e, queueing, decode = first - arrival, finish - arrival, scheduled - arrival, finish - first
    gaps = np.maximum(output, 2) - 1
    per_token = decode / gaps
    many = output > 1
    tpot = per_token if many.all() else per_token[many]
    met = _met(ttft, ttft_slo_s, _met(e2e, e2e_slo_s, _met(np.where(many, per_token, 0.0), tpot_slo_s, None)))
    count = int(gaps[many].sum())
    return Latency(
        finished=len(finish),
        rejected=rejected,
        met_slo=len(finish) if met is None else int(np.count_nonzero(met)),
        ttft=statistics(ttft),
        tpot=statistics(tpot),
        e2e=statistics(e2e),
        queueing=statistics(queueing),
        itl=_gap_statistics(int(decode.sum()) / count / 1e9 if count else 0.0, result.gap_counts),
    )


def _gap_statistics(mean_s: float, counts: Int64 | None) -> Statistics:
    if counts is None:
        return Statistics(mean_s, 0.0, 0.0, 0.0, 0.0)
    return Statistics(mean_s, *(histogram_percentile_ns(counts, p) / 1e9 for p in PERCENTILES))


def statistics(values_ns: Values) -> Statistics:
    """Mean and percentiles of latencies in ns."""
    n = len(values_ns)
    if n == 0:
        return Statistics(0.0, 0.0, 0.0, 0.0, 0.0)
    ranks = [p * (n - 1) / 100 for p in PERCENTILES]
    ordered = _partly_sorted(values_ns, sorted({min(int(rank) + k, n - 1) for rank in ranks for k in (0, 1)}))
    points = [ordered[int(rank)] + (ordered[min(int(rank) + 1, n - 1)] - ordered[int(rank)]) * (rank % 1) for rank in ranks]
    return Statistics(float(values_ns.mean()) / 1e9, *(float(point) / 1e9 for point in points))


def _partly_sorted(values: Values, ranks: list[int]) -> dict[int, float]:
    """Order statistics by rank. Each partition goes on with what lies above the last one."""
    rest: Any = values
    found, below = {}, 0
    for rank in ranks:
        rest = np.partition(rest, rank - below)
        found[rank] = float(rest[rank - below])
        rest, below = rest[rank - below :], rank
    return found


def _met(values: Values, target_s: float | None, so_far: Any) -> Any:
    if target_s is None:
        return so_far
    met = values <= target_s * 1e9
    return met if so_far is None else met & so_far


def new_histogram() -> Int64:
    """Counts of an empty histogram; histograms add up."""
    return np.zeros(BINS, np.int64)


def add_to_histogram(counts: Int64, values_ns: Int64) -> None:
    """Counts `values_ns` (>= 0)."""
    counts += np.bincount(_bin(values_ns), minlength=BINS)


def histogram_percentile_ns(counts: Int64, percentile: float) -> float:
    """The percentile of all counted values, within 0.4 %; 0 where there are none."""
    total = int(counts.sum())
    if total == 0:
        return 0.0
    index = int(np.searchsorted(np.cumsum(counts), percentile / 100 * (total - 1), side="right"))
    exponent = max((index >> MANTISSA_BITS) - 1, 0)
    low = index if exponent == 0 else ((index & ((1 << MANTISSA_BITS) - 1)) + (1 << MANTISSA_BITS)) << exponent
    return low + ((1 << exponent) - 1) / 2


def _bin(values_ns: Int64) -> Int64:
    """Bin of each value: itself below 128, else octave and the seven bits after the leading one."""
    bits = np.asarray(values_ns, np.float64).view(np.int64) >> (52 - MANTISSA_BITS)
    octave = (bits >> MANTISSA_BITS) - 1023 - MANTISSA_BITS  # 0 for 128..255
    index = ((octave + 1) << MANTISSA_BITS) + (bits & ((1 << MANTISSA_BITS) - 1))
    return np.where(values_ns < (1 << MANTISSA_BITS), values_ns, index)
