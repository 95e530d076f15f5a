"""`explain`, on a small study of real simulations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simulator.analysis.roofline_view import positions
from simulator.design.design import Design
from simulator.design.load import load_design
from simulator.simulate import simulate
from sweeper.__main__ import main
from sweeper.api import Study
from sweeper.explain.knobs import neighbours
from sweeper.space.file import load_space
from sweeper.study.trial import Trial
from tests.sweeper.spaces import OBJECTIVES, space_of
from tests.sweeper.studies import finished


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder, space = tmp_path_factory.mktemp("explained") / "study", load_space("quick")
    finished(folder, space, list(space.enumerate())[::2])
    return Study(folder)


def _design(name: str) -> Design:
    return load_design(name, {"workload.requests": 60})


@pytest.mark.parametrize("name", ["npu-chat", "h100-chat", "npu-pim-chat"])
def test_no_operator_is_above_the_roofline_and_times_add_up(name: str) -> None:
    result = simulate(_design(name))
    rows = positions(_design(name), result)
    assert np.isclose(sum(r.seconds for r in rows), sum(op.seconds for op in result.operators))
    assert np.isclose(sum(r.share for r in rows), 1.0)
    for row in rows:
        for share in (row.compute_share, row.link_share):
            assert share is None or 0 <= share <= 1 + 1e-9, row
        assert row.roofline_share is None or 0 < row.roofline_share <= 1 + 1e-3, row  # prices are interpolated
    decode = next(r for r in rows if r.name.startswith("decode"))
    # 4 * heads * head_dim FLOP for 2 * kv_heads * head_dim elements of 2 bytes: heads / kv_heads = 4 for Llama-3.1-8B
    assert decode.flops_per_byte == pytest.approx(4.0)


def test_explain_measures_every_neighbour(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    trial = next(t for t in study.trials() if t.status == "complete" and not t.baseline)
    assert main(["explain", str(study.folder), str(trial.number), "--against", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    space = study.space.inner
    expected = [(p.name, v) for p in space.parameters if p.name in trial.parameters
                for v in neighbours(p, trial.parameters[p.name])]
    assert [(k["parameter"], k["to"]) for k in told["knobs"]] == expected and expected
    measured = next(k for k in told["knobs"] if k["gains"] and k["status"] == "complete")
    objective = next(o for o in space.objectives if o.name in measured["gains"])
    point = space.canonical({**trial.parameters, measured["parameter"]: measured["to"]})
    design = space.design(point)
    new = objective.value({**simulate(design).metrics, **space.flat(point)})
    old = trial.objectives[objective.name]
    sign = 1 if objective.direction == "maximize" else -1
    assert measured["gains"][objective.name] == pytest.approx(sign * (new - old) / abs(old))
    assert told["against"]["trial"] == 0
    assert main(["explain", str(study.folder), str(trial.number), "--against", "0"]) == 0
    assert "bottleneck:" in capsys.readouterr().out


@pytest.fixture
def branches(tmp_path: Path) -> tuple[Path, list[Trial]]:
    space = space_of(tmp_path, """
  pim: {sets: [hardware.pim.placement], choices: [none, local]}
  stacks: {sets: [hardware.pim.stacks_per_npu], ordinal: [1, 2], when: pim != 'none'}
  parallelism.tensor: {ordinal: [1, 2]}
""", design="{base: npu-pim-chat, workload: chat-200}",
                     rest=OBJECTIVES + "constraints: {one: devices <= 1}\nbaselines: {plain: npu-chat}")
    points = [{"pim": "none", "parallelism.tensor": n} for n in (1, 2)]
    return tmp_path / "run", finished(tmp_path / "run", space, points)


def test_a_step_into_another_branch_is_simulated(branches: tuple[Path, list[Trial]], capsys: pytest.CaptureFixture[str]) -> None:
    """PIM comes with its first number of stacks."""
    folder, trials = branches
    assert main(["explain", str(folder), "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    step = next(k for k in told["knobs"] if k["parameter"] == "pim")
    design = load_design("npu-pim-chat", {"workload": "chat-200", "parallelism.tensor": 1, "hardware.pim.stacks_per_npu": 1})
    new, old = simulate(design).metrics["output_throughput"], trials[1].objectives["output_throughput"]
    assert step["gains"]["output_throughput"] == pytest.approx((new - old) / old)


def test_the_screen(branches: tuple[Path, list[Trial]], capsys: pytest.CaptureFixture[str]) -> None:
    """100 columns; what would make an infeasible trial feasible; a baseline by its settings."""
    assert main(["explain", str(branches[0]), "2", "--against", "plain"]) == 0
    text = capsys.readouterr().out
    assert "feasible after one step: parallelism.tensor 2 -> 1" in text
    assert max(len(line) for line in text.splitlines() if "│" in line or "─" in line) <= 100
    assert main(["explain", str(branches[0]), "1", "--against", "plain"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["parallelism.tensor"]
               and len(line.split()) == 3)
    assert row.split()[1:] == ["1", str(load_design("npu-chat").parallelism.tensor)]
