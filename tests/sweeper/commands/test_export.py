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
                           "memory_utilization": 0.85, "enable_prefix_caching": False, "async_scheduling": False,
                           "policy": "priority", "long_prefill_token_threshold": 2048, "enable_chunked_prefill": False,
                           "num_gpu_blocks": 900, "scheduler_reserve_full_isl": False, "watermark": 0.01})
    assert {flag: value(words, flag) for flag in words if flag in (
        "--max-num-seqs", "--max-num-batched-tokens", "--max-model-len", "--block-size", "--gpu-memory-utilization",
        "--scheduling-policy", "--long-prefill-token-threshold", "--num-gpu-blocks-override", "--watermark")} == {
        "--max-num-seqs": "48", "--max-num-batched-tokens": "4096", "--max-model-len": "8000", "--block-size": "32",
        "--gpu-memory-utilization": "0.85", "--scheduling-policy": "priority", "--long-prefill-token-threshold": "2048",
        "--num-gpu-blocks-override": "900", "--watermark": "0.01"}
    assert {"--no-enable-prefix-caching", "--no-async-scheduling", "--no-enable-chunked-prefill",
            "--no-scheduler-reserve-full-isl"} <= set(words)


def test_what_the_engine_does_by_itself_is_not_said() -> None:
    assert flags(engine="vllm-0.32") == ["--dtype", "bfloat16"]
    assert flags(engine="vllm-0.32", serving={"max_num_seqs": 1024, "enable_prefix_caching": True}) == ["--dtype", "bfloat16"]
    # without an engine a design has limits of its own, which vLLM 0.32 would not take by itself
    assert flags() == ["--max-num-seqs", "256", "--gpu-memory-utilization", "0.9",
                       "--no-enable-prefix-caching", "--no-async-scheduling", "--dtype", "bfloat16"]


def test_a_limit_that_follows_another_is_said_only_where_it_differs_from_what_follows() -> None:
    assert flags(engine="vllm-0.32", serving={"max_num_batched_tokens": 512})[:2] == ["--max-num-batched-tokens", "512"]
    words = flags(engine="vllm-0.32", serving={"max_num_batched_tokens": 512, "max_num_seqs": 64})
    assert (value(words, "--max-num-seqs"), value(words, "--max-num-batched-tokens")) == ("64", "512")


@pytest.mark.parametrize("engine", [{}, {"engine": "vllm-0.32"}])
def test_an_open_length_is_what_fits_where_the_models_does_not(engine: dict[str, str]) -> None:
    """16 GB of weights leave a 24 GB card about 41,000 tokens (vLLM 0.19 counted 2,588 blocks of 16); the model has 131,072."""
    longest = int(value(flags(hardware="rtx4090", **engine), "--max-model-len"))
    assert longest == pytest.approx(2587 * 16, rel=0.1)
    assert "--max-model-len" not in flags(**engine)


def test_flags_that_a_version_does_not_have_become_notes() -> None:
    command = vllm_command(resolve({**GPU, "engine": "vllm-0.12", "serving": {"watermark": 0.1}}))
    assert "--watermark" not in command.arguments
    assert command.notes[-1] == "vllm-0.12 has no flag for watermark (0.1)"


def test_another_engines_design_is_refused() -> None:
    with pytest.raises(InputError, match=r"the design's engine is sglang-0.5.14, not vLLM"):
        flags(engine="sglang-0.5.14")
    with pytest.raises(InputError, match=r"the design's scheduler is sarathi, not vLLM's"):
        flags(serving={"scheduler": "sarathi"})


@pytest.mark.parametrize(("hardware", "precision", "quantised", "kv", "noted"), [
    ("h100-sxm", {}, None, None, False),
    ("h100-sxm", {"weights": "fp8", "activations": "fp8", "kv": "fp8"}, "fp8", "fp8", False),
    ("a100-80gb", {"weights": "fp8"}, "fp8", None, False),  # no fp8 units: weight-only
    ("h100-sxm", {"weights": "fp8"}, None, None, True),  # there vLLM would quantise activations too
    ("h100-sxm", {"weights": "int4"}, None, None, True),
])
def test_number_formats(hardware: str, precision: dict[str, str], quantised: str | None, kv: str | None, noted: bool) -> None:
    command = vllm_command(resolve({**GPU, "hardware": hardware, "precision": precision}))
    words = list(command.arguments)
    assert (value(words, "--quantization") if "--quantization" in words else None) == quantised
    assert (value(words, "--kv-cache-dtype") if "--kv-cache-dtype" in words else None) == kv
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
