"""`explain` and `export`, on a small study of real simulations."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from simulator.design import Design, load_design
from simulator.inputs.errors import InputError
from simulator.simulate import simulate
from sweeper.__main__ import main
from sweeper.api import Study, run
from sweeper.explaining.knobs import neighbours
from sweeper.explaining.roofline import positions
from sweeper.exporting.vllm import vllm_commands


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run("quick", tmp_path_factory.mktemp("explained") / "study", trials=12, sampler="random", workers=1)


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_an_exported_design_gives_the_same_numbers(study: Study, form: str, tmp_path: Path) -> None:
    trial = next(t for t in study.trials() if t.status == "complete" and not t.baseline)
    file = tmp_path / f"design.{form}"
    assert main(["export", str(study.folder), str(trial.number), "--to", form, "--output", str(file)]) == 0
    again = simulate(load_design(file)).metrics
    assert {name: again[name] for name in trial.metrics} == trial.metrics


def test_an_npu_has_a_sheet_and_no_vllm_command(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    trial = next(t for t in study.trials() if not t.baseline)
    assert main(["export", str(study.folder), str(trial.number), "--to", "vllm"]) == 2
    assert "is not a GPU" in capsys.readouterr().err
    assert main(["export", str(study.folder), str(trial.number), "--to", "sheet"]) == 0
    text = capsys.readouterr().out
    npu = study.design(trial).hardware.npu
    assert npu is not None and f"{npu.arrays} of {npu.array[0]} x {npu.array[1]} MACs" in text
    assert "mm2" in text and "USD" in text and "GB/s" in text


def test_an_unknown_trial_is_one_clear_error(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(study.folder), "99999"]) == 2
    assert "no trial 99999" in capsys.readouterr().err


def _words(text: str) -> list[str]:
    return shlex.split(text, comments=True)


def _value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_vllm_flags_say_what_the_design_says() -> None:
    design = load_design("h100-chat", {"parallelism.tensor": 2, "parallelism.replicas": 2, "precision.kv": "fp8",
                                       "serving.max_model_len": 4096, "serving.enable_prefix_caching": True})
    words = _words(vllm_commands(design))
    assert words[:3] == ["vllm", "serve", "meta-llama/Llama-3.1-8B"]
    assert _value(words, "--tensor-parallel-size") == "2" and _value(words, "--data-parallel-size") == "2"
    assert _value(words, "--max-num-seqs") == "256" and _value(words, "--max-num-batched-tokens") == "8192"
    assert _value(words, "--max-model-len") == "4096" and _value(words, "--kv-cache-dtype") == "fp8"
    assert "--enable-prefix-caching" in words and "--no-async-scheduling" in words
    assert "--quantization" not in words


def test_replicas_that_fill_more_than_a_node_are_servers_of_their_own() -> None:
    design = load_design("h100-chat", {"parallelism.tensor": 4, "parallelism.replicas": 3})
    words = _words(vllm_commands(design))
    assert words.count("serve") == 3 and "--data-parallel-size" not in words
    assert [words[i + 1] for i, w in enumerate(words) if w == "--port"] == ["8000", "8001", "8000"]
    assert [w for w in words if w.startswith("CUDA")] == [f"CUDA_VISIBLE_DEVICES={d}" for d in ("0,1,2,3", "4,5,6,7", "0,1,2,3")]


@pytest.mark.parametrize(("overrides", "key"), [
    ({"serving.preemption": "swap"}, "serving.preemption"), ({"serving.watermark": 0.01}, "serving.watermark"),
    ({"precision.kv": "int8"}, "precision.kv"), ({"precision.weights": "int4"}, "precision.weights"),
    ({"model": "gpt3-7b"}, "model")])
def test_what_vllm_has_no_flag_for_is_refused(overrides: dict[str, object], key: str) -> None:
    with pytest.raises(InputError) as caught:
        vllm_commands(load_design("h100-chat", overrides))
    assert caught.value.key == key


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
