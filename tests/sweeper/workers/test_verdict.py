"""From metrics to verdicts."""

from __future__ import annotations

import math
from pathlib import Path

from sweeper.space.legality import ILLEGAL
from sweeper.workers.evaluator import SimEvaluator
from sweeper.workers.verdict import check, check_design, judge
from sweeper.workers.worker import Task
from tests.sweeper.spaces import OBJECTIVES, space_of

PLAIN = "  parallelism.tensor: {ordinal: [1, 2, 4]}"
RULES = OBJECTIVES + "constraints: {small: devices <= 2, slo: tpot_p99 <= 50 ms}"


def test_what_the_design_decides_needs_no_metrics(tmp_path: Path) -> None:
    space = space_of(tmp_path, PLAIN, rest=RULES)
    verdict = check(space, {"parallelism.tensor": 4}).verdict
    assert verdict is not None
    assert verdict.status == "infeasible"
    assert verdict.constraints == {"small": 1.0}
    assert verdict.reason == "small: violated by 100.0%"
    assert check(space, {"parallelism.tensor": 2}).verdict is None


def test_the_simulators_own_limits_are_named(tmp_path: Path) -> None:
    # 70B in bf16 needs 141 GB; a device of npu-base holds less
    space = space_of(tmp_path, PLAIN, design="{base: npu-chat, model: llama-3.1-70b}")
    trial = SimEvaluator(space, {}).evaluate(Task(0, {"parallelism.tensor": 1}))
    assert trial.status == "infeasible"
    assert list(trial.constraints) == ["memory_fit"]
    assert trial.constraints["memory_fit"] > 0
    assert trial.reason.startswith("memory_fit: ") and "GB" in trial.reason


def test_a_combination_that_the_schema_refuses_is_infeasible_by_name(tmp_path: Path) -> None:
    space = space_of(tmp_path, "  hardware.pim.placement: {choices: [local, pooled]}\n"
                               "  hardware.pim.stacks_per_npu: {ordinal: [0.5, 1]}", design="npu-pim-chat")
    checked = check(space, {"hardware.pim.placement": "local", "hardware.pim.stacks_per_npu": 0.5})
    assert checked.design is None
    assert checked.verdict is not None
    assert checked.verdict.constraints == {ILLEGAL: 1.0}
    assert "whole number" in checked.verdict.reason


def test_objectives_come_in_their_units_and_constraints_signed(tmp_path: Path) -> None:
    space = space_of(tmp_path, PLAIN, rest=RULES)
    flat = space.flat({"parallelism.tensor": 2})
    metrics = {"tpot_p95": 0.02, "tpot_p99": 0.04, "output_throughput": 900.0}
    verdict = judge(space, flat, metrics)
    assert verdict.status == "complete"
    assert verdict.objectives == {"tpot_p95": 20.0, "output_throughput": 900.0}
    assert round(verdict.constraints["slo"], 12) == -0.2
    slow = judge(space, flat, {**metrics, "tpot_p99": 0.1})
    assert (slow.status, slow.constraints["slo"], slow.reason) == ("infeasible", 1.0, "slo: violated by 100.0%")
    assert slow.objectives == verdict.objectives  # kept: a sampler can learn from them


def test_an_objective_without_a_value_fails_with_its_reason(tmp_path: Path) -> None:
    space = space_of(tmp_path, PLAIN, rest=RULES)
    flat = space.flat({"parallelism.tensor": 1})
    for broken in (math.nan, math.inf):
        verdict = judge(space, flat, {"tpot_p95": broken, "tpot_p99": 0.01, "output_throughput": 1.0})
        assert verdict.status == "failed"
        assert "tpot_p95" in verdict.reason
        assert all(math.isfinite(v) for v in verdict.objectives.values())
    missing = judge(space, flat, {"tpot_p95": 0.01, "output_throughput": 1.0})  # no tpot_p99: the SLO cannot hold
    assert missing.status == "infeasible"
    assert missing.reason == "slo: has no value: tpot_p99 is not set"


def test_baselines_are_judged_by_the_same_rules(tmp_path: Path) -> None:
    space = space_of(tmp_path, PLAIN, rest=RULES + "\nbaselines: {four: {parallelism.tensor: 4}, two: {parallelism.tensor: 2}}")
    four, two = (check_design(space, b.design) for b in space.baselines)
    assert four.verdict is not None
    assert four.verdict.constraints == {"small": 1.0}
    assert two.verdict is None
