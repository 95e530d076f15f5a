"""The statistics of a run too long to keep: each request is counted when it finishes, then dropped."""

from __future__ import annotations

import numpy as np

from simulator.engine.stream import Served
from simulator.results.histogram import add_to_histogram, new_histogram, percentiles_ns
from simulator.results.latency import NONE, Latency, Statistics, gap_statistics
from simulator.results.metrics import PERCENTILES
from simulator.results.order_statistics import E2E, KINDS, QUEUEING, TPOT, TTFT
from simulator.workload.trace import Int64


class Tally:
    """Counts, sums and histograms. Percentiles are within `histogram.ERROR` of the exact ones; counts and integer sums
    are exact, and means as exact as float64 sums are. The attributes are totals of the finished requests so far."""

    def __init__(self, ttft_slo_s: float | None, tpot_slo_s: float | None, e2e_slo_s: float | None) -> None:
        self.finished = self.met_slo = self.prompt_tokens = self.output_tokens = self.preemptions = self.cached_tokens = 0
        self.last_finish_ns = -1
        self._most_ns = [np.inf if slo_s is None else slo_s * 1e9 for slo_s in (ttft_slo_s, tpot_slo_s, e2e_slo_s)]
        self._counts = [new_histogram() for _ in range(KINDS)]
        self._sums_ns, self._numbers = [0.0] * KINDS, [0] * KINDS
        self._gaps = self._gaps_ns = 0

    def add(self, served: Served) -> None:
        """Counts requests that are through."""
        if not len(served.request):
            return
        decode, gaps = served.finish_ns - served.first_token_ns, served.output.astype(np.int64) - 1
        ttft, e2e = served.first_token_ns - served.arrival_ns, served.finish_ns - served.arrival_ns
        tpot = decode / np.maximum(gaps, 1)
        self._add(TTFT, ttft)
        self._add(E2E, e2e)
        self._add(QUEUEING, served.first_scheduled_ns - served.arrival_ns)
        self._add(TPOT, tpot[gaps > 0])
        most = self._most_ns
        self.met_slo += int(np.count_nonzero((ttft <= most[0]) & (tpot <= most[1]) & (e2e <= most[2])))
        self.finished += len(ttft)
        self._gaps += int(gaps.sum())
        self._gaps_ns += int(decode.sum())
        self.prompt_tokens += int(served.prompt.sum(dtype=np.int64))
        self.output_tokens += int(served.output.sum(dtype=np.int64))
        self.preemptions += int(served.preemptions.sum(dtype=np.int64))
        self.cached_tokens += int(served.cached_tokens.sum(dtype=np.int64))
        self.last_finish_ns = max(self.last_finish_ns, int(served.finish_ns.max()))

    def _add(self, kind: int, values: np.ndarray) -> None:
        values_ns = values.astype(np.float64)
        self._sums_ns[kind] += float(values_ns.sum())
        self._numbers[kind] += len(values_ns)
        add_to_histogram(self._counts[kind], values_ns)

    def latency(self, requests: int, gap_counts: Int64 | None) -> Latency:
        """Statistics, given how many requests there were, rejected ones included, and the gaps that the engine counted."""
        of = [self._statistics(kind, requests - self.finished) for kind in range(KINDS)]
        mean_gap_s = self._gaps_ns / self._gaps / 1e9 if self._gaps else np.nan
        return Latency(finished=self.finished, rejected=requests - self.finished, met_slo=self.met_slo, ttft=of[TTFT],
                       tpot=of[TPOT], e2e=of[E2E], queueing=of[QUEUEING], itl=gap_statistics(mean_gap_s, gap_counts))

    def _statistics(self, kind: int, rejected: int) -> Statistics:
        if not self._numbers[kind]:
            return NONE
        mean_s = self._sums_ns[kind] / self._numbers[kind] / 1e9
        return Statistics(mean_s, *(value / 1e9 for value in percentiles_ns(self._counts[kind], PERCENTILES, rejected)))
