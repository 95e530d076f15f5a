"""`explain`, on a small study of real simulations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simulator.design import Design, load_design
from simulator.simulate import simulate
from sweeper.__main__ import main
from sweeper.api import Study, run
from sweeper.explaining.knobs import neighbours
from sweeper.explaining.roofline import positions


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run("quick", tmp_path_factory.mktemp("explained") / "study", trials=12, sampler="random", workers=1)


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
