"""The step validation leaves out what was recorded wrongly, and names what it cannot read."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from scripts.validate_steps import _misrecorded
from tests.shared import ROOT

SCRIPT = ROOT / "scripts" / "validate_steps.py"
COLUMNS = ("run", "phase", "ctx_tokens", "ctx_requests", "ctx_kv_tokens", "decode_requests", "decode_kv_tokens", "latency_ms")


def run(path, rows, *arguments):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return subprocess.run([sys.executable, str(SCRIPT), str(path), *map(str, arguments)], capture_output=True, text=True, check=False)


def test_a_step_recorded_with_its_successors_time_is_left_out_together_with_it():
    least = np.full(5, 10.0)
    assert _misrecorded(np.array([12.0, 24.0, 1.0, 12.0, 12.0]), least).tolist() == [False, True, True, False, False]
    assert _misrecorded(np.array([12.0, 12.0, 1.0, 12.0, 1.0]), least).tolist() == [False, False, True, False, True]


@pytest.mark.slow
def test_steps_of_any_preset_are_fitted_on_a_share_and_compared_on_the_rest(tmp_path):
    """Steps that follow a simple law of their own: 16 GB of weights read at 80 % of 4.8 TB/s and 2 ms beside."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(400):
        decodes, context = int(rng.integers(1, 60)), int(rng.integers(100, 2000))
        seconds = 16e9 / (0.8 * 4.8e12) + 2e-3 + decodes * context * 131072 / (0.8 * 4.8e12)
        rows.append(("llama-3.1-8b_tp1", "decode", 0, 0, 0, decodes, decodes * context, f"{seconds * 1e3:.4f}"))
    done = run(tmp_path / "steps_h200_sxm.csv", rows, "--json", tmp_path / "rows.json")
    assert done.returncode in (0, 1), done.stderr
    found = {r["name"]: r["value"] for r in json.loads((tmp_path / "rows.json").read_text())}
    assert found["tp1/decode/mape"] < 2
    assert found["tp1/fitted_rows_pct"] <= 5
    assert found["tp1/misrecorded_rows"] == 0


def test_a_run_without_its_tensor_degree_is_named(tmp_path):
    done = run(tmp_path / "steps_b300.csv", [("llama-3.1-8b", "decode", 0, 0, 0, 1, 100, 9.0)])
    assert done.returncode == 2
    assert "llama-3.1-8b" in done.stderr
    assert "Traceback" not in done.stderr
