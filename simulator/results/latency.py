"""Exact latency statistics of a run (`tally` has those of runs too long to keep).

TTFT: first token minus arrival. TPOT: (last - first token) / (output tokens - 1), requests with one token left out.
E2E: last token minus arrival. Queueing: start of the first batch minus arrival. Percentiles interpolate linearly
between order statistics (numpy's default, Hyndman and Fan's definition 7).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.engine.result import EngineResult
from simulator.results.histogram import gap_percentiles_ns
from simulator.results.metrics import PERCENTILES
from simulator.results.order_statistics import (
    BINS,
    E2E,
    FINISHED,
    GAPS_NS,
    KINDS,
    MET,
    QUEUEING,
    SEVERAL,
    TOKEN_GAPS,
    TOTALS,
    TPOT,
    TTFT,
    Float64,
    compiled,
    measure,
    percentiles,
)
from simulator.workload.trace import Int64, Trace


@dataclass(frozen=True)
class Statistics:
    """Of one latency, in seconds; all NaN where no request has it. Percentiles count rejected requests as infinitely late."""

    mean_s: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float


NONE = Statistics(np.nan, np.nan, np.nan, np.nan, np.nan)


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
    output = trace.output_tokens
    if max_model_len is not None:
        output = np.minimum(output, max_model_len - trace.prompt_tokens.astype(np.int64))
    n = len(trace)
    targets = np.full(KINDS, np.inf)
    for kind, target_s in ((TTFT, ttft_slo_s), (TPOT, tpot_slo_s), (E2E, e2e_slo_s)):
        if target_s is not None:
            targets[kind] = target_s * 1e9
    values, counts = np.empty((KINDS, n)), np.zeros((KINDS, BINS), np.int64)
    totals, sums = np.zeros(TOTALS, np.int64), np.zeros(KINDS)
    compiled(measure)(*(np.ascontiguousarray(column, np.int64) for column in (
        trace.arrival_ns, result.first_scheduled_ns, result.first_token_ns, result.finish_ns)),
        np.ascontiguousarray(output, np.int32), targets, values, counts, totals, sums)
    finished, gaps = int(totals[FINISHED]), int(totals[TOKEN_GAPS])
    sizes = np.array([totals[SEVERAL if kind == TPOT else FINISHED] for kind in range(KINDS)])
    of = _statistics(values, counts, sizes, sums) if finished == n else _with_rejected(values, sizes, n - finished)
    return Latency(
        finished=finished,
        rejected=n - finished,
        met_slo=int(totals[MET]),
        ttft=of[TTFT],
        tpot=of[TPOT],
        e2e=of[E2E],
        queueing=of[QUEUEING],
        itl=gap_statistics(int(totals[GAPS_NS]) / gaps / 1e9 if gaps else np.nan, result.gap_counts),
    )


def gap_statistics(mean_s: float, counts: Int64 | None) -> Statistics:
    """Of the gaps between tokens: their mean, and percentiles within 0.4 % where they were counted."""
    if np.isnan(mean_s):
        return NONE
    if counts is None:
        return Statistics(mean_s, 0.0, 0.0, 0.0, 0.0)
    return Statistics(mean_s, *(value / 1e9 for value in gap_percentiles_ns(counts, PERCENTILES)))


def statistics(values_ns: Int64 | Float64, rejected: int = 0) -> Statistics:
    """Mean and percentiles of any latencies in ns. rejected: requests that have none and come last in every order: an infinite
    percentile falls among them."""
    n = len(values_ns)
    if n == 0:
        return NONE
    ordered = np.sort(np.asarray(values_ns, np.float64))
    ranks = [p * (n + rejected - 1) / 100 for p in PERCENTILES]
    pairs = [(_at(ordered, int(rank)), _at(ordered, min(int(rank) + 1, n + rejected - 1)), rank % 1) for rank in ranks]
    return Statistics(float(ordered.sum()) / n / 1e9, *((low + (high - low) * share if share and low < np.inf else low) / 1e9
                                                        for low, high, share in pairs))


def _at(ordered: Float64, rank: int) -> float:
    return float(ordered[rank]) if rank < len(ordered) else np.inf


def _with_rejected(values: Float64, sizes: Int64, rejected: int) -> list[Statistics]:
    """Of the first sizes[kind] latencies in ns of each kind, and of rejected requests, which come last in every order."""
    return [statistics(row[:n], rejected) for row, n in zip(values, sizes.tolist(), strict=True)]


def _statistics(values: Float64, counts: Int64, sizes: Int64, sums: Float64) -> list[Statistics]:
    """Of the first sizes[kind] latencies in ns of each kind, counted by bin."""
    points = np.zeros((KINDS, len(PERCENTILES)))
    compiled(percentiles)(values, counts, sizes, np.array(PERCENTILES), np.full(BINS, -1), np.empty(values.shape[1]), points)
    return [Statistics(total / n / 1e9, *(point / 1e9 for point in row)) if n else NONE
            for total, n, row in zip(sums.tolist(), sizes.tolist(), points.tolist(), strict=True)]
