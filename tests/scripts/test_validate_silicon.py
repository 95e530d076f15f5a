"""The silicon validation meets its bars on the chips that ship with it, and takes others."""

import json
import subprocess
import sys

from tests.shared import ROOT

SCRIPT = ROOT / "scripts" / "validate_silicon.py"


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False)


def test_every_bar_is_met_and_reported(tmp_path):
    done = run("--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    for name in ("area/median_abs_error", "area/within_15_pct", "tdp/within_20_pct", "cogs/h200-sxm/error", "cogs/mi300x/error",
                 "cogs/mi355x/error"):
        assert rows[name]["ok"] is True, rows[name]
    assert rows["area/chips"]["value"] >= 10
    assert rows["tdp/chips"]["value"] >= 10


def test_chips_of_another_file_are_judged(tmp_path):
    lines = (ROOT / "scripts" / "silicon_chips.csv").read_text().splitlines()
    wrong = lines[0] + "\n" + next(line for line in lines if line.startswith("GH100")).replace(",814,test", ",400,test")
    (tmp_path / "chips.csv").write_text(wrong)
    done = run(tmp_path / "chips.csv")
    assert done.returncode == 1
    assert "MISSED" in done.stdout
