"""What every device rests on, and that each command says it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.__main__ import main
from simulator.analysis.evidence import DATASHEET, MEASURED, evidence
from simulator.design.load import CONFIGS, load_hardware

NAMES = sorted(path.stem for path in (CONFIGS / "hardware").glob("*.yaml"))


def test_only_what_was_measured_is_called_calibrated() -> None:
    found = {name: evidence(load_hardware(name, {})) for name in NAMES}
    assert {name for name, of in found.items() if of.time == MEASURED} == {"a100-80gb", "h100-sxm"}
    assert {name for name, of in found.items() if of.power == MEASURED} == {"h100-sxm"}
    assert (MEASURED, DATASHEET) == ("calibrated on measurements", "datasheet only")
    assert str(found["h100-sxm"]) == "time and power calibrated on measurements"
    assert str(found["a100-80gb"]) == "time calibrated on measurements, power datasheet only"


def test_measured_tables_are_measurements() -> None:
    b200 = load_hardware("b200", {})
    assert evidence(b200).time == DATASHEET
    assert evidence(b200.model_copy(update={"tables": "tables.parquet"})).time == MEASURED


def test_every_command_of_the_simulator_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["price", "--hardware", "h100-sxm", "--op", "gemm m=1 n=64 k=64"],
                      ["run", "h100-chat", "--set", "workload=chat-200"], ["hardware", "h100-sxm"]):
        assert main(arguments) == 0
        assert MEASURED in capsys.readouterr().out, arguments
    assert main(["run", "npu-chat", "--set", "workload=chat-200", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evidence"] == {"time": DATASHEET, "power": DATASHEET}


def test_the_list_has_it_in_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hardware"]) == 0
    rows = capsys.readouterr().out.splitlines()
    for name in NAMES:
        (line,) = [row for row in rows if row.split()[:1] == [name]]
        of = evidence(load_hardware(name, {}))
        assert line.rstrip().endswith(of.power) and of.time in line


def test_words_stand_in_one_place() -> None:
    root = Path(__file__).resolve().parents[2]
    said = [path for program in ("simulator", "sweeper") for path in (root / program).rglob("*.py")
            if f'"{MEASURED}"' in path.read_text() or f'"{DATASHEET}"' in path.read_text()]
    assert [path.name for path in said] == ["evidence.py"]
