"""The power validation meets its bars on the shared rows and counts what it cannot express."""

import csv
import gzip
import json
import subprocess
import sys

from tests.shared import ROOT, shared_file

SCRIPT = ROOT / "scripts" / "validate_power.py"


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_bars_hold_on_the_shared_rows(tmp_path):
    done = run(shared_file("data/published/power.csv.gz"), "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert rows["h100/power/mape"]["ok"] is True
    assert rows["h100/energy_per_token/mape"]["ok"] is True
    assert rows["h100/itl/mape"]["value"] < 10
    assert rows["h100/power/held_out_mape"]["value"] <= 10
    assert "b200/power/mape" in rows
    assert rows["b200/power_at_measured_rate/mape"]["ok"] is True  # energy is right where only step times are not


def test_what_cannot_be_written_as_a_design_is_counted(tmp_path):
    with gzip.open(shared_file("data/published/power.csv.gz"), "rt", newline="") as file:
        first = next(csv.DictReader(file))
    strange = [first | {"model": "acme/Unheard-of-9B"}, first | {"prec": "mxfp4"}, first | {"gpu_model": "TPU"},
               first | {"max_num_seqs": "1024"}]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerows(strange)
    done = run(path, "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "rows.json").read_text())}
    assert rows == {"not_expressed/models": 1, "not_expressed/rows": 3}


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    done = run(path)
    assert done.returncode == 2
    assert "other.csv" in done.stderr
