"""The operator validation meets its bars on the shared measurements of both calibrated GPUs, framework by framework."""

import json
import subprocess
import sys

import pytest

from tests.shared import ROOT, shared_file

SCRIPT = ROOT / "scripts" / "validate_operators.py"
FILES = ("op_gemm_subset", "op_attention_hd128", "op_comm")
ROWS = {
    "h100_sxm": {"gemm_bf16", "gemm_fp8", "allreduce", "attention_decode_vllm", "attention_decode_sglang",
                 "attention_decode_trtllm", "attention_prefill_vllm", "attention_prefill_sglang", "attention_prefill_trtllm"},
    "a100_sxm": {"gemm_bf16", "allreduce", "attention_decode_vllm", "attention_decode_sglang", "attention_prefill_vllm",
                 "attention_prefill_sglang", "attention_prefill_trtllm"}}


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("system", ROWS)
def test_every_bar_is_met_and_nothing_lies_below_the_roofline(system, tmp_path):
    files = [shared_file(f"data/silicon/{name}.csv.gz") for name in FILES]
    done = run(*files, "--system", system, "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    for name in ROWS[system]:
        assert rows[f"{name}/mape"]["ok"] is True, rows[f"{name}/mape"]
        assert rows[f"{name}/below_roofline"]["value"] == 0
    assert rows["gemm_bf16/rows"]["value"] > 5000


def test_a_system_without_rows_is_named():
    done = run(shared_file("data/silicon/op_comm.csv.gz"), "--system", "abacus", "--hardware", "h100-sxm")
    assert done.returncode == 2
    assert "abacus" in done.stderr


def test_gemms_with_operands_in_the_cache_are_left_out_and_every_second_other_is_held_out(tmp_path):
    done = run(shared_file("data/silicon/op_gemm_l40s.csv.gz"), "--system", "l40s", "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert (rows["gemm_bf16/not_cold"]["value"], rows["gemm_bf16/rows"]["value"]) == (2036, 708)
    assert rows["gemm_bf16_held_out/rows"]["value"] == 354 and rows["gemm_fp8_held_out/rows"]["value"] == 163
    assert rows["gemm_bf16_held_out/mape"]["ok"] is True and rows["gemm_fp8_held_out/mape"]["ok"] is True
