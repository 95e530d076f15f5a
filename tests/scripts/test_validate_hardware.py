"""The hardware validation runs on the shared tables, meets its bars, and says so in JSON."""

import json
import subprocess
import sys

from tests.shared import ROOT, shared_file

SCRIPT = ROOT / "scripts" / "validate_hardware.py"


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True,
                          check=False)


def test_every_bar_is_met_and_reported(tmp_path):
    folder = shared_file("data/hardware/scalesim_gemm_cycles.csv").parent
    done = run(folder, "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    for name in ("scalesim/mismatches", "attacc/mape", "neupims/mape", "llmcompass_allreduce/mape",
                 "ga100_area/error_pct"):
        assert rows[name]["ok"] is True, rows[name]
    assert rows["scalesim/mismatches"]["value"] == 0


def test_a_folder_without_tables_is_named(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
