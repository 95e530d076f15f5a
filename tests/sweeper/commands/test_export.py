"""`export`: vLLM commands, YAML that runs to the same numbers, JSON, hardware summaries."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from simulator.design.load import load_design, resolve
from simulator.inputs.errors import InputError
from simulator.simulate import simulate
from sweeper.__main__ import main
from sweeper.export.vllm import vllm_command
from sweeper.study.trial import Trial
from tests.sweeper.spaces import OBJECTIVES, space_of
from tests.sweeper.studies import finished

GPU = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": "chat-200"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial]]:
    folder = tmp_path_factory.mktemp("study")
    space = space_of(folder, """
  hardware: {choices: [h100-sxm, npu-pim]}
  parallelism.tensor: {ordinal: [1, 2]}
""", design="{base: npu-chat, workload: chat-200}", rest=OBJECTIVES + "baselines: {plain: {}}")
    points = [{"hardware": "h100-sxm", "parallelism.tensor": 2}, {"hardware": "npu-pim", "parallelism.tensor": 1}]
    return folder / "run", finished(folder / "run", space, points)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_yaml_runs_to_the_trials_numbers(study: tuple[Path, list[Trial]], number: int, tmp_path: Path) -> None:
    folder, trials = study
    path = tmp_path / "design.yaml"
    assert main(["export", str(folder), str(number), "--to", "yaml", "--output", str(path)]) == 0
    assert simulate(load_design(path)).metrics == trials[number].metrics


def test_a_gpu_design_becomes_a_command(study: tuple[Path, list[Trial]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(study[0]), "1", "--to", "vllm"]) == 0
    script = capsys.readouterr().out
    words = shlex.split(script, comments=True)
    assert words[:3] == ["vllm", "serve", "meta-llama/Llama-3.1-8B"]
    assert words[words.index("--tensor-parallel-size") + 1] == "2"
    assert "--no-enable-prefix-caching" in words


@pytest.mark.parametrize(("number", "form"), [("2", "vllm"), ("0", "vllm"), ("77", "yaml")])
def test_refusals_are_one_line(study: tuple[Path, list[Trial]], number: str, form: str,
                               capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(study[0]), number, "--to", form]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert len(said.err.splitlines()) == 1
    assert ("--to sheet" if form == "vllm" else "77") in said.err


def test_json_holds_everything(study: tuple[Path, list[Trial]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, trials = study
    assert main(["export", str(folder), "1", "--to", "json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["objectives"] == trials[1].objectives
    assert plain["vllm"][:2] == ["vllm", "serve"]
    assert resolve(plain["design"]).parallelism.tensor == 2
    assert main(["export", str(folder), "plain", "--to", "json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert (plain["baseline"], plain["vllm"]) == ("plain", None)


def test_the_sheet_names_the_parts(study: tuple[Path, list[Trial]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(study[0]), "2", "--to", "sheet"]) == 0
    text = capsys.readouterr().out
    hardware = load_design("npu-pim-chat").hardware
    assert hardware.npu is not None
    assert f"{hardware.npu.arrays} x {hardware.npu.array[0]} x {hardware.npu.array[1]}" in text
    for part in ("SRAM", "PIM", "die area", "power", "USD", "links", "matrix peak", "bandwidth"):
        assert part in text


def flags(**sections: object) -> list[str]:
    return list(vllm_command(resolve({**GPU, **sections})).arguments[3:])


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_scheduler_limits_become_flags() -> None:
    words = flags(serving={"max_num_seqs": 48, "max_num_batched_tokens": 4096, "max_model_len": 8000, "block_size": 32,
                           "memory_utilization": 0.85, "enable_prefix_caching": True, "async_scheduling": True,
                           "policy": "priority", "long_prefill_token_threshold": 2048, "enable_chunked_prefill": False,
                           "num_gpu_blocks": 900, "scheduler_reserve_full_isl": False, "watermark": 0.01})
    assert {flag: value(words, flag) for flag in words if flag in (
        "--max-num-seqs", "--max-num-batched-tokens", "--max-model-len", "--block-size", "--gpu-memory-utilization",
        "--scheduling-policy", "--long-prefill-token-threshold", "--num-gpu-blocks-override", "--watermark")} == {
        "--max-num-seqs": "48", "--max-num-batched-tokens": "4096", "--max-model-len": "8000", "--block-size": "32",
        "--gpu-memory-utilization": "0.85", "--scheduling-policy": "priority", "--long-prefill-token-threshold": "2048",
        "--num-gpu-blocks-override": "900", "--watermark": "0.01"}
    assert {"--enable-prefix-caching", "--async-scheduling", "--no-enable-chunked-prefill",
            "--no-scheduler-reserve-full-isl"} <= set(words)


@pytest.mark.parametrize(("hardware", "precision", "quantised", "kv", "noted"), [
    ("h100-sxm", {}, None, "auto", False),
    ("h100-sxm", {"weights": "fp8", "activations": "fp8", "kv": "fp8"}, "fp8", "fp8", False),
    ("a100-80gb", {"weights": "fp8"}, "fp8", "auto", False),  # no fp8 units: weight-only
    ("h100-sxm", {"weights": "fp8"}, None, "auto", True),  # there vLLM would quantise activations too
    ("h100-sxm", {"weights": "int4"}, None, "auto", True),
])
def test_number_formats(hardware: str, precision: dict[str, str], quantised: str | None, kv: str, noted: bool) -> None:
    command = vllm_command(resolve({**GPU, "hardware": hardware, "precision": precision}))
    words = list(command.arguments)
    assert (value(words, "--quantization") if "--quantization" in words else None) == quantised
    assert value(words, "--kv-cache-dtype") == kv
    assert any("checkpoint" in note for note in command.notes) == noted


def test_replicas_experts_and_nodes() -> None:
    assert value(flags(parallelism={"replicas": 4, "tensor": 2}), "--data-parallel-size") == "4"
    apart = vllm_command(resolve({**GPU, "parallelism": {"replicas": 3, "tensor": 8}}))
    assert "--data-parallel-size" not in apart.arguments
    assert "3 such servers, each on 8 GPUs" in apart.notes[0]
    assert "--enable-expert-parallel" in flags(model="qwen3-30b-a3b", parallelism={"tensor": 4, "expert_parallel": True})
    assert value(flags(parallelism={"tensor": 8, "pipeline": 2}), "--distributed-executor-backend") == "ray"


def test_other_hardware_is_refused() -> None:
    with pytest.raises(InputError, match="sheet"):
        vllm_command(load_design("npu-pim-chat"))
