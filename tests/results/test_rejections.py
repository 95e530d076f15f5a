"""Rejected requests miss every target; outputs of one token have no TPOT; rates leave the drain out."""

import math

import pytest

from simulator.analysis.rate_search import Target, capacity
from simulator.design.load import load_design, resolve
from simulator.inputs.yaml_file import load_yaml
from simulator.result import Infeasible
from simulator.results.metrics import METRICS
from simulator.results.steady import steady_span_s
from simulator.simulate import simulate
from tests.shared import shared_file

LONG = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "slo": {"ttft": "5 s", "tpot": "100 ms"},
        "serving": {"num_gpu_blocks": 2000},
        "workload": {"arrivals": {"process": "poisson", "rate": "1 requests/s"}, "requests": 100,
                     "prompt": {"distribution": "uniform", "low": 200, "high": 60000}, "output": {"distribution": "fixed", "mean": 50}}}


def test_a_design_that_rejects_is_infeasible_unless_it_may():
    with pytest.raises(Infeasible, match=r"of 100 requests never fit .* slo.allow_rejected"):
        simulate(resolve(LONG))
    metrics = simulate(resolve({**LONG, "slo": {**LONG["slo"], "allow_rejected": 0.9}})).metrics
    share = metrics["rejected"] / 100
    assert 0.3 < share < 0.7  # 32,000 of up to 60,000 tokens fit
    assert metrics["slo_attainment"] <= 1 - share
    assert "ttft_p99" not in metrics and "tpot_p95" not in metrics  # they fall among the rejected
    assert math.isfinite(metrics["ttft_mean"])


def test_capacity_is_not_won_by_rejecting():
    """shared cases/reject_capacity.yaml: 200 blocks took 3.28 requests/s by serving the shortest prompts alone; 28,000 take 0.38."""
    plain = load_yaml(shared_file("cases/reject_capacity.yaml"))
    target = Target({"ttft_p99": 5.0}, seeds=1)
    with pytest.raises(Infeasible, match="rejected"):
        capacity(resolve({**plain, "serving": {"num_gpu_blocks": 200}}), target)
    found = capacity(resolve({**plain, "serving": {"num_gpu_blocks": 28000}}), target)
    assert found.metrics["capacity"] == pytest.approx(0.38, rel=0.1)


def test_outputs_of_one_token_have_no_tpot():
    design = resolve({**LONG, "serving": {}, "workload": {**LONG["workload"], "output": {"distribution": "fixed", "mean": 1}}})
    metrics = simulate(design).metrics
    assert {name for name in METRICS if name not in metrics} == {
        f"{kind}_{statistic}" for kind in ("tpot", "itl") for statistic in ("mean", "p50", "p90", "p95", "p99")}


def test_money_per_token_leaves_the_drain_out():
    """16 requests/s of which each makes 227.5 tokens cost what an hour costs, over 3,600 s of that."""
    metrics = simulate(load_design("h100-chat", {"workload.rate": "4 requests/s"})).metrics
    tokens = metrics["output_throughput"] / metrics["request_throughput"]
    assert metrics["request_throughput"] == pytest.approx(4, rel=0.01)
    assert metrics["cost_per_million_tokens"] == pytest.approx(metrics["cost_per_hour"] / 3600 / (4 * tokens) * 1e6, rel=0.01)
    assert metrics["backlog_growth"] == pytest.approx(0, abs=0.01)


def test_saturation_is_said_and_rates_are_those_of_the_engine():
    """What comes faster than it is served piles up in the queue, but for what the batch holds; the rate is the engine's own."""
    slow, fast = (simulate(load_design("h100-chat", {"workload.rate": f"{rate} requests/s", "serving.max_num_seqs": 16})).metrics
                  for rate in (40, 80))
    assert fast["request_throughput"] == pytest.approx(slow["request_throughput"], rel=0.05)
    for metrics, rate in ((slow, 40), (fast, 80)):
        assert metrics["backlog_growth"] == pytest.approx(rate - metrics["request_throughput"], rel=0.05)


@pytest.mark.parametrize(("requests", "arrivals_s", "makespan_s", "queueing_s", "e2e_s", "span_s"), [
    (101, 100.0, 112.0, 0.01, 3.0, 101.0),  # keeps up: as long as 101 requests take to come at that rate
    (101, 100.0, 205.0, 50.0, 53.0, 200.4),  # twice as much comes as is served: the last waits 100 s
    (101, 0.01, 30.0, 14.0, 16.0, 30.0),  # all at once
    (7, 0.006, 2.0, 0.0, 1.9, 2.0),  # too few to settle
    (1, 0.0, 2.0, 0.0, 2.0, 2.0),
])
def test_the_span_of_rates(requests, arrivals_s, makespan_s, queueing_s, e2e_s, span_s):
    found = steady_span_s(requests, arrivals_s, makespan_s, queueing_s, e2e_s)
    assert found == pytest.approx(span_s, rel=1e-3)
