"""Latencies of any length: percentiles stay numpy's, no count leads past the last bin, and a clock that would end says so."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from simulator.__main__ import main
from simulator.engine.gap_histogram import BINS as GAP_BINS
from simulator.engine.gap_histogram import gap_bin
from simulator.results.histogram import ERROR, add_to_histogram, new_histogram, percentiles_ns
from simulator.results.latency import latency
from simulator.results.metrics import PERCENTILES
from simulator.results.order_statistics import BINS, _bin
from simulator.workload.trace import Trace


@pytest.mark.parametrize("value", [0, 1, 2**53, 2**54, 2**62, 2**63 - 1, -1, -(2**63)])
def test_every_int64_has_a_bin(value):
    assert 0 <= _bin(np.int64(value)) < BINS
    if 0 <= value < 2**63 - 512:
        assert 0 <= gap_bin(np.int64(value)) < GAP_BINS
    if value >= 0:
        counts = new_histogram()
        add_to_histogram(counts, np.array([float(value)]))
        assert percentiles_ns(counts, (50,))[0] == pytest.approx(value, rel=ERROR)


@pytest.mark.parametrize("top", [2**50, 2**54, 2**60, 2**62])
def test_percentiles_of_long_times_are_those_of_numpy(top):
    rng = np.random.default_rng(1)
    finish = rng.integers(1, top, 500)
    zeros = np.zeros(500, np.int64)
    result = SimpleNamespace(first_scheduled_ns=zeros, first_token_ns=finish // 2, finish_ns=finish, gap_counts=None)
    found = latency(Trace(zeros, np.ones(500, np.int32), np.full(500, 2, np.int32)), result)
    for statistics, values in ((found.ttft, finish // 2), (found.e2e, finish), (found.tpot, finish - finish // 2)):
        wanted = np.percentile(values.astype(float), PERCENTILES) / 1e9
        assert [statistics.p50_s, statistics.p90_s, statistics.p95_s, statistics.p99_s] == pytest.approx(wanted.tolist(), rel=1e-12)


def test_a_host_of_a_day_a_step_is_simulated_and_ordered(capsys):
    """Five requests, a step of 1e5 s: between the shortest run (257 steps) and one request after the other."""
    arguments = ["run", "npu-chat", "--set", "workload.requests=5", "--set", "hardware.host.step=1e5 s", "--json"]
    assert main(arguments) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    e2e = [value for name, value in sorted(metrics.items()) if name.startswith("e2e_p")]
    assert e2e == sorted(e2e) and 1e6 < e2e[0] < 1e8
    assert main([*arguments[:-1], "--stream", "--json"]) == 0
    streamed = json.loads(capsys.readouterr().out)["metrics"]
    assert [streamed[name] for name in sorted(metrics) if name.startswith("e2e_p")] == pytest.approx(e2e, rel=ERROR)


SLOW = ["hardware.npu.clock=1 mHz", "hardware.memory.bandwidth=1 B/s", "hardware.memory.bandwidth=1e-300 B/s",
        "hardware.npu.launch=1e9 s", "hardware.link.latency=1e300 s", "hardware.link.bandwidth=1e-300 B/s",
        "hardware.host.step=1e9 s", "hardware.host.step=1e300 s"]


@pytest.mark.parametrize("slow", SLOW)
@pytest.mark.parametrize("command", [["run"], ["run", "--reference"], ["run", "--stream"], ["capacity"], ["timeline", "-o", "t.json"]],
                         ids=" ".join)
def test_steps_beyond_the_clock_end_in_a_line(slow, command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = main([command[0], "npu-chat", *command[1:], "--set", "workload.requests=5", "--set", "parallelism.tensor=2", "--set", slow])
    printed = capsys.readouterr()
    assert code == 2, printed
    assert printed.err.count("\n") == 1 and "hardware" in printed.err
