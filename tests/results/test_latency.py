"""Latency statistics against numpy's own percentiles."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.results.latency import latency
from simulator.results.metrics import PERCENTILES
from simulator.workload.trace import Trace

SPREADS = {"equal": lambda rng, n: np.full(n, 7), "few values": lambda rng, n: rng.integers(0, 3, n),
           "uniform": lambda rng, n: rng.integers(0, 10**9, n), "mostly 0": lambda rng, n: rng.integers(0, 2, n) * 10**6,
           "heavy tail": lambda rng, n: np.minimum(10 ** rng.uniform(0, 15, n), 2**52).astype(np.int64)}


def drawn(rng, n, spread, rejected):
    """A trace of n requests and times of such spread; some requests are rejected, some have one token."""
    arrival = np.cumsum(rng.integers(0, 1000, n))
    output = rng.integers(1, 4, n).astype(np.int32)
    waits, prefill, decode = (SPREADS[spread](rng, n) for _ in range(3))
    scheduled = arrival + waits
    first = scheduled + prefill
    finish = first + np.where(output > 1, decode, 0)
    lost = rng.random(n) < rejected
    times = [np.where(lost, -1, column).astype(np.int64) for column in (scheduled, first, finish)]
    result = SimpleNamespace(first_scheduled_ns=times[0], first_token_ns=times[1], finish_ns=times[2], gap_counts=None)
    return Trace(arrival.astype(np.int64), np.ones(n, np.int32), output), result


def check(found, values_ns, rejected=0):
    """Rejected requests come last in every order; without any value there is no statistic."""
    mean, *points = [np.nan] * 5
    if len(values_ns):
        late = 1e300  # numpy cannot interpolate infinities
        points = np.percentile(np.concatenate([values_ns, np.full(rejected, late)]), PERCENTILES)
        mean, points = np.mean(values_ns), np.where(points > 1e200, np.inf, points)
    assert [found.mean_s, found.p50_s, found.p90_s, found.p95_s, found.p99_s] == pytest.approx(
        [v / 1e9 for v in (mean, *points)], rel=1e-12, nan_ok=True)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 3, 50, 3000]), st.sampled_from(sorted(SPREADS)), st.sampled_from([0.0, 0.3, 1.0]))
def test_percentiles_are_those_of_numpy(seed, n, spread, rejected):
    trace, result = drawn(np.random.default_rng(seed), n, spread, rejected)
    found = latency(trace, result, ttft_slo_s=4e-4, tpot_slo_s=2e-4, e2e_slo_s=6e-4)
    done = result.finish_ns >= 0
    ttft, e2e, queueing = ((to - trace.arrival_ns)[done] for to in (result.first_token_ns, result.finish_ns, result.first_scheduled_ns))
    output, decode = trace.output_tokens[done], (result.finish_ns - result.first_token_ns)[done]
    tpot = decode[output > 1] / (output[output > 1] - 1)
    lost = n - done.sum()
    for statistics, values in ((found.ttft, ttft), (found.e2e, e2e), (found.queueing, queueing), (found.tpot, tpot)):
        check(statistics, values, lost)
    assert (found.finished, found.rejected) == (done.sum(), n - done.sum())
    per_token = decode / np.maximum(output - 1, 1)
    assert found.met_slo == ((ttft <= 4e5) & ((per_token <= 2e5) | (output == 1)) & (e2e <= 6e5)).sum()
    gaps = (output - 1).sum()
    assert found.itl.mean_s == pytest.approx(decode.sum() / gaps / 1e9 if gaps else np.nan, nan_ok=True)


def test_outputs_that_the_engine_cut_count_as_cut():
    """Prompt 90 and 30 outputs under a limit of 100: ten tokens, nine gaps of 2 us."""
    times = [np.array([at], np.int64) for at in (0, 1000, 19_000)]
    result = SimpleNamespace(first_scheduled_ns=times[0], first_token_ns=times[1], finish_ns=times[2], gap_counts=None)
    trace = Trace(np.zeros(1, np.int64), np.array([90], np.int32), np.array([30], np.int32))
    assert latency(trace, result, max_model_len=100).tpot.mean_s == pytest.approx(2e-6)


def test_the_same_without_a_compiler():
    code = ("import numpy as np; from tests.results.test_latency import drawn; from simulator.results.latency import latency; "
            "print(latency(*drawn(np.random.default_rng(1), 200, 'heavy tail', 0.1), ttft_slo_s=1.0))")
    said = {subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": flag}, check=True, text=True,
                           capture_output=True, cwd=Path(__file__).parents[2]).stdout for flag in "01"}
    assert len(said) == 1
