"""Baselines: whole sections, equal settings, per device and dollar, one basis."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.design.load import load_design
from simulator.inputs.errors import InputError
from simulator.simulate import simulate
from sweeper.explain.against import EQUAL, OWN, at_equal_settings, compared, comparisons, equalised, mixed_prices, said
from sweeper.space.file import load_space
from sweeper.space.resolved_yaml import resolved_yaml
from sweeper.space.space import Space
from sweeper.study.trial import Trial
from sweeper.workers.evaluator import SimEvaluator
from sweeper.workers.worker import Task
from tests.sweeper.spaces import space_of

BASE = "{base: npu-chat, precision: {kv: fp8}, workload: chat-200, costs: {base: default, cost_basis: owned_bom}}"
RULES = """
objectives: [{minimize: tpot_p95, unit: ms}, {maximize: goodput}, {minimize: cost_per_hour}]
baselines: {h100: {design: h100-chat}, two h100: {design: h100-chat, parallelism.tensor: 2}, as it is: {}}
"""
KNOBS = """  dtype: {sets: [precision.weights, precision.activations], choices: [bf16, fp8]}
  seqs: {sets: [serving.max_num_seqs], ordinal: [64, 256]}"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return space_of(tmp_path, KNOBS, design=BASE, rest=RULES)


def done(number: int, tpot: float, goodput: float, hourly: float, devices: int, baseline: str = "") -> Trial:
    return Trial(number, {} if baseline else {"dtype": "fp8", "seqs": 64}, "complete", baseline=baseline,
                 objectives={"tpot_p95": tpot, "goodput": goodput, "cost_per_hour": hourly},
                 metrics={"devices": float(devices), "cost_per_hour": hourly})


def test_a_baselines_design_replaces_whole_sections_and_answers_the_spaces_question(space: Space, tmp_path: Path) -> None:
    h100, two, same = (b.design for b in space.baselines)
    own = load_design("h100-chat", {})
    assert (h100.hardware, h100.parallelism, h100.serving, h100.precision) == (own.hardware, own.parallelism, own.serving,
                                                                              own.precision)
    assert (own.parallelism.tensor, two.parallelism.tensor, same.parallelism.tensor) == (1, 2, 2)  # npu-chat has two devices
    assert same.precision.kv == "fp8" and h100.precision.kv == "bf16"
    assert {d.workload.name for d in (h100, two, same)} == {"chat-200"}
    (tmp_path / "written.yaml").write_text(resolved_yaml(space))
    assert [b.design for b in load_space(tmp_path / "written.yaml").baselines] == [h100, two, same]


def test_a_baseline_serves_the_spaces_model_unless_it_says_another(tmp_path: Path) -> None:
    rest = RULES.replace("as it is: {}", "other: {design: h100-chat, model: llama-2-13b}")
    space = space_of(tmp_path, KNOBS, design=BASE.replace("npu-chat,", "npu-chat, model: qwen3-8b,"), rest=rest)
    assert [b.design.model.name for b in space.baselines] == ["qwen3-8b", "qwen3-8b", "llama-2-13b"]


def test_equal_settings_are_the_designs_precision_limits_and_host_on_the_baselines_hardware(space: Space) -> None:
    design, h100 = space.design({"dtype": "fp8", "seqs": 64}), space.baselines[0].design
    equal = equalised(design, h100)
    assert (equal.precision, equal.serving, equal.hardware.host) == (design.precision, design.serving, design.hardware.host)
    assert (equal.hardware.gpu, equal.hardware.memory, equal.parallelism) == (h100.hardware.gpu, h100.hardware.memory,
                                                                             h100.parallelism)
    engine = load_design("h100-chat", {"engine": "vllm-0.32"})
    assert equalised(engine, h100).engine == engine.engine
    assert equalised(engine, h100).hardware.host == h100.hardware.host  # the engine says what its host takes


def test_the_baseline_at_equal_settings_is_simulated(space: Space) -> None:
    evaluator = SimEvaluator(space, {})
    trial, baseline = evaluator.evaluate(Task(5, {"dtype": "fp8", "seqs": 64})), evaluator.evaluate(Task(0, {}, "h100"))
    found = at_equal_settings(space, trial, baseline, evaluator)
    equal = simulate(equalised(space.design(trial.parameters), space.baselines[0].design)).metrics
    assert found is not None and found.settings == EQUAL
    assert found.changes["tpot_p95"] == pytest.approx(trial.metrics["tpot_p95"] / equal["tpot_p95"] - 1)
    same = evaluator.evaluate(Task(2, {}, "as it is"))
    inside = evaluator.evaluate(Task(6, {"dtype": "bf16", "seqs": 256}))
    assert at_equal_settings(space, inside, same, evaluator) is None  # nothing differs
    ((_, both),) = comparisons(space, trial, [baseline])
    assert [one.settings for one in both] == [OWN, EQUAL]
    ((_, alone),) = comparisons(space, trial, [baseline], again=False)
    assert [one.settings for one in alone] == [OWN]


def test_what_grows_with_devices_is_also_per_device_and_per_dollar_where_counts_differ(space: Space) -> None:
    """Eight devices: 80 requests/s at 16 USD/h; one: 5 at 1.6. 16 and 10 times as much, so 2 a device and 1.6 a dollar."""
    found = compared(space, done(5, 10, 80, 16, 8), done(0, 20, 5, 1.6, 1, "h100"))
    assert found.devices == (8, 1)
    assert found.changes == pytest.approx({"tpot_p95": -0.5, "goodput": 15, "cost_per_hour": 9})
    assert found.per_device == pytest.approx({"goodput": 1.0, "cost_per_hour": 0.25})
    assert found.per_dollar == pytest.approx({"goodput": 0.6})
    assert said(found, space.objectives) == ("tpot_p95 -50%, goodput +1500% (+100% a device, +60% a USD/h), "
                                             "cost_per_hour +900% (+25% a device)")
    alike = compared(space, done(5, 10, 80, 16, 8), done(0, 20, 5, 1.6, 8, "h100"))
    assert (alike.per_device, alike.per_dollar) == ({}, {})


def test_a_list_price_and_an_estimated_one_give_no_percentage(tmp_path: Path) -> None:
    space = space_of(tmp_path, KNOBS, design="{base: npu-chat, workload: chat-200}", rest=RULES)
    trial, h100, same = done(5, 10, 8, 1, 2), done(0, 20, 5, 1.6, 1, "h100"), done(2, 20, 5, 1.6, 2, "as it is")
    assert mixed_prices(space, trial, same) == ""
    found = compared(space, trial, h100)
    assert set(found.changes) == {"tpot_p95", "goodput"} and set(found.per_device) == {"goodput"} and not found.per_dollar
    assert found.note == ("no percentage of amounts: h100-sxm has a list price, npu-base is estimated as a challenger would sell "
                          "it; costs.cost_basis owned_bom prices both alike")


def test_a_sweep_over_bases_is_refused_in_a_line(tmp_path: Path) -> None:
    knob = KNOBS + "\n  basis: {sets: [costs.cost_basis], choices: [owned_bom, owned_list]}"
    with pytest.raises(InputError, match=r"parameters\.basis\.choices\[1\].*amounts on different bases are not compared"):
        space_of(tmp_path, knob, design=BASE, rest=RULES)


def test_amounts_carry_their_basis(space: Space) -> None:
    assert [o.label for o in space.objectives] == ["tpot_p95 (ms)", "goodput (requests/s)", "cost_per_hour (USD/h, BOM)"]
