"""What a report works out beyond the ledger: slices, importances and a design's time, against direct simulations, closed
forms and brute force."""

import math
from itertools import product

import numpy as np
import pytest

from simulator.design.load import load_design
from simulator.simulate import simulate
from sweeper.report.anatomy import BINS, anatomies, anatomy
from sweeper.report.importance import importances, sample
from sweeper.report.picks import Pick
from sweeper.report.simulations import Budget, Simulations
from sweeper.report.slices import MAX_VALUES, slice_values, slices
from sweeper.study.trial import Trial
from tests.sweeper.spaces import space_of
from tests.sweeper.studies import finished

AMPLE = Budget(1e6, 0.01)
SMALL = """  parallelism.tensor: {ordinal: [1, 2, 3, 4]}
  serving.max_num_seqs: {ordinal: [16, 64]}"""
CHAT = "{base: npu-chat, workload: chat-200}"


def test_a_slice_is_the_design_simulated_at_each_value(tmp_path):
    space = space_of(tmp_path, SMALL, design=CHAT)
    [trial] = finished(tmp_path / "study", space, [{"parallelism.tensor": 2, "serving.max_num_seqs": 64}])
    found, why = slices(space, [Pick(trial, ())], Simulations(tmp_path / "study", space), AMPLE)
    assert why == "" and [s.parameter for s in found] == ["parallelism.tensor", "serving.max_num_seqs"]
    tensor = found[0]
    assert [step.value for step in tensor.steps] == [1, 2, 3, 4] and tensor.own == 1
    for step in (tensor.steps[i] for i in (0, 1, 3)):
        design = load_design("npu-chat", {"workload": "chat-200", "parallelism.tensor": step.value, "serving.max_num_seqs": 64})
        metrics = simulate(design).metrics
        direct = {"tpot_p95": 1e3 * metrics["tpot_p95"], "output_throughput": metrics["output_throughput"]}
        assert step.trial.objectives == pytest.approx(direct, rel=1e-14)
    cut = tensor.steps[2]
    assert cut.trial.status == "infeasible" and "32 attention heads do not divide" in cut.trial.reason


def test_a_budget_that_is_too_small_names_the_designs_left_out(tmp_path):
    space = space_of(tmp_path, SMALL, design=CHAT)
    trial = Trial(7, {"parallelism.tensor": 2, "serving.max_num_seqs": 64}, "complete")
    found, why = slices(space, [Pick(trial, ())], Simulations(tmp_path, space), Budget(1.0, 10.0))
    assert found == [] and "trial 7" in why and "--budget SECONDS" in why


def test_values_of_a_slice_span_the_knob_and_hold_the_designs_own(tmp_path):
    space = space_of(tmp_path, """  serving.max_num_seqs: {int: {low: 1, high: 200}}
  workload.rate: {float: {low: 1 request/s, high: 256 requests/s, log: true}}""")
    whole, rate = space.parameters
    values = slice_values(whole, 77)
    assert values == sorted(values) and {1, 77, 200} <= set(values) and len(values) == MAX_VALUES + 1
    values = slice_values(rate, 5.0)
    assert values[0] == 1 and values[-1] == pytest.approx(256) and 5.0 in values
    others = np.array([v for v in values if v != 5.0])
    assert np.diff(np.log2(others)) == pytest.approx(np.ones(8))  # 1 .. 256 in eight doublings


def test_importance_of_an_additive_function_is_each_terms_share_of_the_variance(tmp_path):
    """f = 3 lead + 2 next + last over a full grid of centred levels: the variances are to each other as 9 : 4 : 1."""
    levels = [1, 2, 4, 8]
    space = space_of(tmp_path, "\n".join(f"  {name}: {{sets: [{key}], ordinal: {levels}}}" for name, key in
                                         {"lead": "parallelism.tensor", "next": "hardware.memory.stacks", "last": "parallelism.pipeline",
                                          "idle": "hardware.npu.arrays"}.items()))
    rows = []
    for number, point in enumerate(product(range(4), repeat=4)):
        value = 10 + 3 * point[0] + 2 * point[1] + point[2]
        rows.append(Trial(number, dict(zip(("lead", "next", "last", "idle"), (levels[i] for i in point), strict=True)), "complete",
                          objectives={"tpot_p95": value, "output_throughput": 1.0}))
    latency, constant = importances(space, rows)
    assert (latency.objective, latency.log) == ("tpot_p95", False)
    shares = {"lead": 9 / 14, "next": 4 / 14, "last": 1 / 14, "idle": 0.0}
    assert latency.fanova == pytest.approx(shares, abs=0.03)
    assert max(latency.ped_anova, key=latency.ped_anova.get) == "lead"
    assert sum(latency.ped_anova.values()) == pytest.approx(1.0)
    assert constant.fanova == constant.ped_anova == {}  # what never varies has no cause


def test_a_product_is_additive_in_its_logarithm(tmp_path):
    """f = x^3 y over powers of two: log f = 3 log x + log y, variances 9 : 1."""
    space = space_of(tmp_path, "  x: {sets: [parallelism.tensor], ordinal: [1, 2, 4, 8]}\n"
                               "  y: {sets: [hardware.memory.stacks], ordinal: [1, 2, 4, 8]}")
    rows = [Trial(n, {"x": x, "y": y}, "complete", objectives={"tpot_p95": x**3 * y, "output_throughput": x + y})
            for n, (x, y) in enumerate(list(product([1, 2, 4, 8], repeat=2)) * 4)]
    latency, throughput = importances(space, rows)
    assert latency.log and latency.fanova == pytest.approx({"x": 0.9, "y": 0.1}, abs=0.03)
    assert not throughput.log and throughput.fanova == pytest.approx({"x": 0.5, "y": 0.5}, abs=0.05)


def test_a_sample_that_the_budget_does_not_allow_says_so(tmp_path):
    space = space_of(tmp_path, SMALL, design=CHAT)
    rows, why = sample(space, Simulations(tmp_path, space), Budget(1.0, 10.0))
    assert rows == [] and "--budget SECONDS" in why


def test_shares_of_a_designs_time_add_up_with_its_idle_time():
    """A synchronous engine on one device does one thing at a time."""
    design = load_design("npu-chat", {"workload": "chat-200", "workload.rate": "1 request/s", "parallelism.tensor": 1,
                                      "serving.async_scheduling": False})
    result = simulate(design)
    found = anatomy(3, design, result)
    [replica] = result.replicas
    assert found.number == 3 and found.timeline is None
    assert found.wall_s == pytest.approx((replica.run.makespan_ns - replica.trace.arrival_ns[0]) / 1e9)
    busy = sum(share for _, _, bounds in found.operators for share in bounds.values())
    assert busy * found.wall_s == pytest.approx(sum(op.seconds for op in result.operators))
    assert 0 < busy < 1 and found.idle == pytest.approx(1 - busy)


def test_a_timeline_holds_the_highest_value_under_way_in_each_bin():
    """Against a walk over every step and every bin."""
    design = load_design("npu-chat", {"workload": "chat-200"})
    result = simulate(design, log=True)
    line = anatomy(0, design, result).timeline
    [replica] = result.replicas
    log, start = replica.run.log, int(replica.trace.arrival_ns[0])
    width = (replica.run.makespan_ns - start) / BINS
    running, used = np.zeros(BINS), np.zeros(BINS)
    usable = result.kv_memory.num_gpu_blocks - 1
    for i in range(len(log.n)):
        first = min(int((log.scheduled_ns[i] - start) // width), BINS - 1)
        last = max(min(math.ceil((log.end_ns[i] - start) / width) - 1, BINS - 1), first)
        running[first:last + 1] = np.maximum(running[first:last + 1], log.running[i])
        used[first:last + 1] = np.maximum(used[first:last + 1], 1 - log.free_blocks[i] / usable)
    assert line.end_s == pytest.approx(BINS * width / 1e9)
    assert np.array_equal(line.running, running) and line.kv_use == pytest.approx(used)
    assert running.max() == log.running.max()


def test_designs_beyond_the_budget_or_without_a_result_have_no_anatomy(tmp_path):
    space = space_of(tmp_path, SMALL, design=CHAT)
    good, bad = (Trial(n, {"parallelism.tensor": tensor, "serving.max_num_seqs": 16}, "complete")
                 for n, tensor in ((0, 2), (1, 3)))
    assert [a.number for a in anatomies(space, [bad, good], [], AMPLE)] == [0]
    assert anatomies(space, [good], [], Budget(1.0, 10.0)) == []
