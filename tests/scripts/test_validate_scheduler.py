"""`scripts/validate_scheduler.py` on folders in the oracle's format."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

from scripts import scheduler_oracle as oracle
from scripts.validate_scheduler import main
from tests.engine.builders import oracle_folder

ENGINE = ["--engine", "reference"]


def write(folder: Path, recorded: list[tuple[dict, dict]]) -> str:
    for name, column in (("scenarios", 0), ("answers", 1)):
        text = json.dumps([pair[column] for pair in recorded]).encode()
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(text))
    return str(folder)


def test_identical_scenarios_give_exit_code_0_and_rows(tmp_path, capsys):
    folder = write(tmp_path, oracle.load(oracle_folder())[:3])
    assert main([folder, *ENGINE, "--json", str(tmp_path / "rows.json")]) == 0
    assert capsys.readouterr().out == "reference: identical 3 of 3\n"
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row == {"name": "scheduler/reference/identical", "value": 3, "unit": "scenarios", "goal": "all 3", "ok": True}


def test_a_difference_is_told_in_words_and_fails(tmp_path, capsys):
    scenario, answer = copy.deepcopy(oracle.load(oracle_folder())[0])
    answer["requests"]["finish_ns"][2] += 1
    assert main([write(tmp_path, [(scenario, answer)]), *ENGINE]) == 1
    out = capsys.readouterr().out
    assert "finish_ns of request 2: recorded" in out and "identical 0 of 1" in out
    answer["batch"]["new"][0] += 1
    assert main([write(tmp_path, [(scenario, answer)]), *ENGINE]) == 1
    assert "step 0: the batch" in capsys.readouterr().out


def test_a_folder_without_scenarios_is_an_input_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "scenarios.json.gz" in capsys.readouterr().err
