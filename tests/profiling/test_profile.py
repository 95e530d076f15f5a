"""The profile command with PyTorch on a CPU, end to end."""

import importlib.util
import json

import pytest
import yaml

from simulator.__main__ import main
from simulator.design.load import resolve
from simulator.devices.measured.parquet import read_table
from simulator.simulate import simulate
from tests.profiling.tiny import TINY

TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed: pip install 'llm-serving-sweeper[profile]'")


@pytest.fixture
def command(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return ["profile", "--device", "cpu", "--model", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out"),
            "--max-tokens", "32", "--max-sequences", "4", "--max-context", "256", "--repeats", "3"]


@needs_torch
def test_a_profile_of_this_cpu_serves_a_design(command, tmp_path):
    assert main(command) == 0
    table = read_table(tmp_path / "out/tp1.parquet")
    kinds = set(table.columns["kind"].tolist())
    assert kinds == {"gemm", "vector", "prefill_attention", "decode_attention"}
    assert table.meta["framework"].startswith("torch ") and table.meta["time"] == "wall"
    assert (table.columns["repeats"] == 3).all() and (table.columns["mad_s"] >= 0).all()
    assert json.loads((tmp_path / "out/tp1.report.json").read_text())["content_hash"] == table.content_hash
    design = resolve({"model": TINY, "hardware": {"base": "h100-sxm", "tables": str(tmp_path / "out")},
                      "serving": {"max_num_seqs": 4, "max_num_batched_tokens": 32},
                      "workload": {"base": "chat-200", "requests": 20, "max_prompt_tokens": 64, "max_output_tokens": 16}})
    result = simulate(design)
    fidelity = {op.name: op.fidelity for op in result.operators}
    # "calibrated": prices reach beyond the 32 tokens and 256 of context that were measured; the datasheet's are "analytic"
    assert {fidelity[name] for name in ("qkv", "attention_norm", "decode_attention")} <= {"interpolated", "calibrated"}
    # this CPU's step of two layers takes at least its four GEMMs, each measured
    least = sum(table.points("gemm", shape).seconds.min() for shape in ((128, 64, 16, 16), (64, 64, 16, 16), (64, 128, 16, 16)))
    assert result.metrics["tpot_p50"] > 2 * least
    assert result.metrics["requests"] == 20


@needs_torch
def test_a_second_run_measures_nothing_and_writes_the_same_table(command, tmp_path, capsys):
    assert main(command) == 0
    first = read_table(tmp_path / "out/tp1.parquet").content_hash
    capsys.readouterr()
    assert main(command) == 0
    assert read_table(tmp_path / "out/tp1.parquet").content_hash == first
    assert " of " not in capsys.readouterr().err  # no point was told to be measured


@needs_torch
def test_an_all_reduce_between_two_processes_is_measured(command, tmp_path):
    assert main([*command, "--tp", "2", "--max-tokens", "16"]) == 0
    points = read_table(tmp_path / "out/tp2.parquet").points("collective", ("all_reduce", 2))
    assert points.axes[0].tolist() == [128.0, 256.0, 512.0, 1024.0, 2048.0] and (points.seconds > 1e-7).all()


@needs_torch
def test_a_call_that_fails_is_named_in_one_line_and_what_is_finished_is_kept(command, tmp_path, monkeypatch, capsys):
    from simulator.profiling import torch_calls

    def broken(*_):
        raise RuntimeError("operation not permitted\nwhile capturing")

    monkeypatch.setattr(torch_calls, "_prefill", broken)
    assert main(command) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: prefill_attention 16 x 0: could not be measured (operation not permitted while capturing)")
    assert len((tmp_path / "out/tp1.journal.jsonl").read_text().splitlines()) > 20


@pytest.mark.parametrize(("more", "said"), [(["--tp", "3"], "--tp: tiny cannot be split over 3 ranks"),
                                            (["--repeats", "0"], "--repeats: is 0")])
def test_bad_arguments_are_one_line_and_exit_code_2(command, capsys, more, said):
    assert main([*command, *more]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error


@pytest.mark.skipif(TORCH, reason="PyTorch is installed")
def test_without_torch_the_extra_is_named(command, capsys):
    assert main(command) == 2
    assert "[profile]" in capsys.readouterr().err
