"""Capacity search: against a brute-force scan of rates with the whole simulator, and the threshold search by itself."""

import itertools
import json
import math

import numpy as np
import pytest

from simulator.__main__ import main
from simulator.analysis.rate_search import LATENCIES, Target, capacity, default_target, limits_of
from simulator.analysis.threshold import highest
from simulator.design.load import load_design
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.result import Infeasible
from simulator.results.metrics import CAPACITY_METRICS
from simulator.simulate import simulate
from simulator.workload.load import at_rate, load_trace
from simulator.workload.replicates import replicates, shifted

SCAN = 1.004  # factor between two rates of the brute-force scan


def scanned(design, limits, trace, top):
    """The last rate of a fine grid below `top` before the first that misses a limit, by complete simulations."""
    cache = CostCache()
    passed = 0.0
    for rate in np.geomspace(top / 8, top, round(math.log(8) / math.log(SCAN))):
        metrics = simulate(design, cache=cache, trace=at_rate(trace, float(rate))).metrics
        if any(metrics[name] > limit for name, limit in limits.items()):
            break
        passed = float(rate)
    return passed


@pytest.mark.parametrize(("name", "overrides", "limits"), [
    ("npu-chat", {"workload": "chat-200"}, {"ttft_p99": 0.6, "tpot_p99": 0.03}),
    ("npu-pim-chat", {"workload": "chat-200", "parallelism.replicas": 2}, {"tpot_p95": 0.012}),
    ("h100-chat", {"workload": "chat-200"}, {"e2e_p95": 6.0, "itl_mean": 0.012}),
])
def test_the_search_finds_what_a_scan_of_all_rates_finds(name, overrides, limits):
    design = load_design(name, overrides)
    trace = load_trace(design.workload)
    found = capacity(design, Target(limits, tolerance=0.005, seeds=1))
    brute = scanned(design, limits, trace, found.saturated_per_s)
    assert 0 < brute < found.saturated_per_s * 0.99, "the case must bind below saturation"
    assert found.metrics["capacity"] == pytest.approx(brute, rel=0.01)
    assert found.metrics["capacity_runs"] < 30


@pytest.mark.parametrize(("name", "metric", "limit"), [
    ("npu-chat", "itl_p95", 0.04), ("npu-chat", "itl_p99", 0.05), ("npu-pim-chat", "itl_p99", 0.04)])
def test_percentiles_of_gaps_between_tokens_can_be_limits(name, metric, limit):
    """They jump from rate to rate, since a few prefill chunks decide them: the answer passes, what is said to fail does, and a
    scan of all rates first fails within three per cent."""
    design = load_design(name, {"workload": "chat-200"})
    trace = load_trace(design.workload)
    (found,) = capacity(design, Target({metric: limit}, seeds=1)).thresholds
    at, above = (simulate(design, trace=at_rate(trace, rate)).metrics[metric] for rate in (found.rate, found.fails))
    assert at <= limit < above
    assert found.fails <= found.rate * 1.011
    assert scanned(design, {metric: limit}, trace, found.rate * 1.5) == pytest.approx(found.rate, rel=0.03)


def test_metrics_follow_from_the_run_at_capacity():
    design = load_design("npu-chat", {"workload": "chat-200"})
    found = capacity(design, Target({"ttft_p99": 0.6}, seeds=3))
    assert set(found.metrics) == set(CAPACITY_METRICS)
    rates = [t.rate for t in found.thresholds]
    m = found.metrics
    assert m["capacity"] == pytest.approx(sum(rates) / 3)
    half = 4.303 * np.std(rates, ddof=1) / math.sqrt(3)  # Student's t, two degrees of freedom, from a table
    assert m["capacity_high"] - m["capacity"] == pytest.approx(half, rel=1e-6)
    trace = load_trace(design.workload)
    at = simulate(design, trace=at_rate(trace, m["capacity"])).metrics
    tokens_per_s = m["capacity"] * trace.output_tokens.mean()
    assert m["output_throughput_at_slo"] == pytest.approx(tokens_per_s)
    assert m["cost_per_million_tokens_at_slo"] == pytest.approx(at["cost_per_hour"] / 3600 / tokens_per_s * 1e6)
    assert m["goodput_at_slo"] <= m["capacity"]


def test_a_looser_target_never_gives_less():
    design = load_design("npu-chat", {"workload": "chat-200"})
    rates = [capacity(design, Target({"ttft_p99": limit}, seeds=1)).metrics["capacity"] for limit in (0.3, 0.6, 1.2, 2.4)]
    assert all(b >= a * 0.99 for a, b in itertools.pairwise(rates))


def test_what_no_rate_meets_is_infeasible_with_the_target_named():
    with pytest.raises(Infeasible, match=r"tpot_p99 is .* the target is 0.001") as error:
        capacity(load_design("npu-chat", {"workload": "chat-200"}), Target({"tpot_p99": 0.001}, seeds=1))
    assert error.value.violations[0].amount > 1


@pytest.mark.parametrize("guess", [0.01, 3.0, 40.0, 99.0])
def test_threshold_of_a_monotone_test(guess):
    found = highest(lambda rate: math.log(rate / 17.3), 100.0, guess, 0.01)
    assert found.rate <= 17.3 < found.fails <= found.rate * 1.0101
    assert highest(lambda rate: -1.0, 100.0, guess, 0.01) == type(found)(100.0, None, 3)
    assert highest(lambda rate: 1.0, 100.0, guess, 0.01).rate == 0.0


def test_the_guard_takes_the_lower_of_two_crossings_that_lie_close():
    """Fails from 20 on, and in a narrow band a little below: what a trace that happens to cluster does."""
    def excess(rate):
        return 0.5 if rate > 20.0 or 19.0 < rate < 19.7 else -0.5

    for guess in (5.0, 14.0, 19.8, 60.0):
        assert highest(excess, 100.0, guess, 0.01).rate == pytest.approx(19.0, rel=0.011)


def test_replicates_keep_requests_and_gaps():
    workload = load_design("npu-chat").workload
    trace = load_trace(workload)
    for other in replicates(workload, trace, 3)[1:]:
        assert sorted(other.prompt_tokens) == sorted(trace.prompt_tokens)
        missing = set(np.diff(trace.arrival_ns).tolist()) - set(np.diff(other.arrival_ns).tolist())
        assert len(missing) <= 1  # the gap that became the way around
        assert other.prompt_tokens[0] != trace.prompt_tokens[0]
    assert (shifted(trace, 0).arrival_ns == trace.arrival_ns - trace.arrival_ns[0]).all()
    drawn = load_design("npu-chat", {"workload": {"base": "long-context", "requests": 50}}).workload
    first, second = replicates(drawn, load_trace(drawn), 2)
    assert (first.prompt_tokens != second.prompt_tokens).any()
    closed = load_design("npu-chat", {"workload": {"base": "chat-200", "concurrency": 8}}).workload
    assert [t.concurrency for t in replicates(closed, load_trace(closed), 3)] == [8, 8, 8]


def test_targets_as_written():
    assert limits_of({"ttft_p99": "500 ms", "attainment": "95 %"}) == {"ttft_p99": 0.5, "slo_attainment": pytest.approx(0.95)}
    assert "makespan" not in LATENCIES
    with pytest.raises(InputError, match="did you mean 'ttft_p99'"):
        Target({"ttft_p9": 1.0})
    with pytest.raises(InputError, match="needs latency targets"):
        default_target(load_design("npu-chat", {"slo": {}}))


def test_the_command_prints_the_brackets(capsys):
    command = ["capacity", "npu-chat", "--set", "workload=chat-200", "--slo", "ttft_p99=600ms", "--seeds", "2"]
    assert main(command) == 0
    assert "lowest that fails" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["seeds"]) == 2
    assert said["metrics"]["capacity_requests_per_s"] > 0
    for wrong in (["--slo", "ttft_p99"], ["--slo", "latency=1s"], ["--tolerance", "x"], ["--seeds", "0"]):
        assert main([*command, *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
