"""docs/by-hand.md: its arithmetic adds up, and the code gets the same numbers."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import pytest

from simulator.design.load import load_hardware
from simulator.devices import dram
from simulator.silicon import area, energy, power
from simulator.silicon.die_cost import die_usd, die_yield, dies_per_wafer
from simulator.silicon.money import bill, made
from simulator.simulate import simulate
from sweeper.explain.against import OWN, at_equal_settings, compared, said
from sweeper.space.file import load_space
from sweeper.space.space import Space
from sweeper.study.trial import Trial
from sweeper.workers.evaluator import SimEvaluator
from sweeper.workers.worker import Task
from tests.shared import ROOT

TEXT = (ROOT / "docs" / "by-hand.md").read_text(encoding="utf-8")
LINE = re.compile(r"^\| ([\w :]+?) \| `([^`]+)` \| ([\d.,]+)(?: ([^|]+?))? \|", re.MULTILINE)
LINES = {m[1]: (m[2], float(m[3].replace(",", "")), m[3]) for m in LINE.finditer(TEXT)}
TABLE = re.compile(r"^\| `(\w+)` \| ([\w ]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)

HEADLINE: dict[str, Any] = {"array": [256, 256], "arrays_per_npu": 4, "hbm": "HBM3E", "hbm_stacks": 2, "pim": "none", "tp": 1, "pp": 1,
                            "max_num_seqs": 256, "max_num_batched_tokens": 2048, "dtype": "fp8"}
DESIGNS: dict[str, dict[str, Any]] = {
    "npu_pim": {**HEADLINE, "kv_dtype": "fp8"}, "npu_pim_grid": HEADLINE,
    "capacity": {"accelerator": "h200-sxm", "tp": 1, "pp": 1, "replicas": 2, "max_num_seqs": 256, "max_num_batched_tokens": 1024},
    "gpu_cluster": {"accelerator": "h200-sxm", "tp": 1, "pp": 2, "replicas": 1, "weights": "fp8", "serving.max_num_seqs": 512,
                    "serving.max_num_batched_tokens": 1024},
    "gpu_fleet": {"accelerator": "b200", "tp": 2, "pp": 1, "replicas": 1, "weights": "fp8", "kv": "fp8", "serving.max_num_seqs": 256,
                  "serving.max_num_batched_tokens": 1024, "serving.memory_utilization": 0.9}}
POINTS = 5  # percentage points that a change of the timing model may move a comparison before the page is to be written again


def of_the_code() -> dict[str, float]:
    """Every quantity of the page as the code has it."""
    space = load_space("npu_pim")
    design = space.design(DESIGNS["npu_pim"])
    hardware, costs, silicon = design.hardware, design.costs, design.hardware.silicon
    parts, die = area.npu_parts(hardware), area.npu_area(hardware)
    mm2, node = die.total, costs.nodes.n7
    parts_usd, paid, metrics = made(hardware, costs), bill(hardware, costs), simulate(design).metrics
    matrix = power.SUSTAINED_SHARE * 2 * parts.macs * 1e9 * energy.mac_pj(silicon, 7) / 2 * 1e-12
    memory = (power.MEMORY_BESIDE_MATRIX * dram.peak_bandwidth_bytes_per_s(hardware.memory) * 8
              * energy.NPU_PATH_PJ_PER_BIT["HBM3E"] * 1e-12)
    assert power.peak_w(hardware, mm2) == pytest.approx(power.static_w(hardware, mm2) + matrix + memory)
    h100 = next(b.design for b in space.baselines if b.name == "h100")
    other, its_parts = bill(h100.hardware, h100.costs), made(h100.hardware, h100.costs)
    return {
        "MACs": parts.macs, "arrays": die.compute, "vector unit": die.vector, "scratchpad": die.sram, "memory PHYs": die.memory_io,
        "links": die.link_io, "uncore": die.uncore, "die": mm2, "dies on a wafer": dies_per_wafer(mm2),
        "yield": die_yield(mm2, node.defects_per_mm2, silicon.repairable), "good die": die_usd(mm2, node, silicon.repairable),
        "HBM": parts_usd.memory_usd, "package": parts_usd.package_usd, "assembly losses": parts_usd.loss_usd,
        "cost of making": parts_usd.cost_usd, "design and masks": parts_usd.nre_usd, "device": paid.device_usd,
        "capital": paid.capital_usd, "idle power": power.static_w(hardware, mm2), "arrays at full load": matrix,
        "memory meanwhile": memory, "power density": paid.w_per_mm2,
        "capital an hour": paid.capital_usd / (costs.lifetime_years * 8766),
        "floor space": paid.peak_w / 1000 * costs.facility_usd_per_kw_month * 12 / 8766,
        "electricity": metrics["power"] / 1000 * costs.power_usage_effectiveness * costs.electricity_usd_per_kwh,
        "an hour": metrics["cost_per_hour"], "tokens a second": metrics["output_throughput"],
        "a million tokens": metrics["cost_per_million_tokens"],
        "H100: good die": its_parts.dies_usd, "H100: cost of making": its_parts.cost_usd, "H100: device": other.device_usd,
        "H100: capital": other.capital_usd, "H100: an hour": simulate(h100).metrics["cost_per_hour"]}


def rounded(value: float, text: str) -> bool:
    """Whether `value`, to the digits of `text`, is what it says, to one in the last digit."""
    digits = len(text.partition(".")[2])
    return abs(value - float(text.replace(",", ""))) <= 1.001 * 10.0**-digits


def test_every_line_adds_up() -> None:
    assert len(LINES) == 33
    for name, (formula, _, text) in LINES.items():
        assert re.fullmatch(r"[\d.e+*/() -]|[\d.e+*/() -]*(?:(?:exp|pi|sqrt)[\d.e+*/() -]*)*", formula), formula
        value = eval(formula, {"__builtins__": {}, "exp": math.exp, "pi": math.pi, "sqrt": math.sqrt})
        assert rounded(value, text), f"{name}: {formula} is {value}, not {text}"


def test_the_code_gets_the_same_numbers() -> None:
    found = of_the_code()
    assert found.keys() == LINES.keys()
    wrong = {name: (value, LINES[name][2]) for name, value in found.items() if not rounded(value, LINES[name][2])}
    # simulated power moves with the timing model: 2 % of it before the page is to be written again
    simulated = {"electricity", "an hour", "a million tokens", "H100: an hour"}
    assert not {n: w for n, w in wrong.items() if n not in simulated or abs(w[0] / LINES[n][1] - 1) > 0.02}


def test_a_larger_mac_takes_the_die_above_the_reticle() -> None:
    large = {"npu.array": [256, 256], "npu.arrays": 4, "memory.kind": "HBM3E", "memory.stacks": 2, "silicon.mac_um2": 1100}
    assert area.area_mm2(load_hardware("npu-base", large)) == pytest.approx(883, abs=1)
    assert "883 mm2, above the reticle" in TEXT.replace("\n", " ")


@cache
def evaluated(name: str) -> tuple[Space, SimEvaluator, Trial]:
    space = load_space(name)
    evaluator = SimEvaluator(space, {})
    return space, evaluator, evaluator.evaluate(Task(99, DESIGNS[name]))


@pytest.mark.parametrize(("name", "baseline", "own", "equal"), TABLE.findall(TEXT), ids=lambda text: text[:14])
def test_comparisons_with_baselines(name: str, baseline: str, own: str, equal: str) -> None:
    space, evaluator, trial = evaluated(name)
    assert trial.status == "complete"
    other = evaluator.evaluate(Task(0, {}, baseline=baseline))
    found = said(compared(space, trial, other, OWN), space.objectives) if other.status == "complete" else "no feasible design"
    again = at_equal_settings(space, trial, other, evaluator)
    assert again is not None
    for written, now in ((own, found), (equal, said(again, space.objectives))):
        assert re.sub(r"[+-]\d+%", "", written) == re.sub(r"[+-]\d+%", "", now), f"write: {now}"
        for before, after in zip(re.findall(r"([+-]\d+)%", written), re.findall(r"([+-]\d+)%", now), strict=True):
            assert abs(int(before) - int(after)) <= max(POINTS, 0.05 * abs(int(before))), f"write: {now}"


def test_every_baseline_of_every_shipped_space_is_there() -> None:
    told = [(name, baseline) for name, baseline, _, _ in TABLE.findall(TEXT)]
    shipped = [(path.stem, b.name) for path in sorted((ROOT / "search_spaces").glob("*.yaml")) for b in load_space(path.stem).baselines]
    assert sorted(told) == sorted(shipped)
