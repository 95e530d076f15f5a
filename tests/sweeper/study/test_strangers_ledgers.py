"""A ledger that somebody else wrote: every field is checked, and no command ends in a traceback."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path

import pytest
from rich.console import Console

from simulator.inputs.errors import InputError
from sweeper.__main__ import main
from sweeper.run.progress import Progress
from sweeper.run.settings import Options, new_study, resumed_study
from sweeper.space.file import load_space
from sweeper.study import ledger
from sweeper.study.settings import SweepSettings, settings_of
from sweeper.study.trial import from_json_line
from tests.sweeper.spaces import space_of

PARAMETERS = "  parallelism.tensor: {choices: [1, 2]}"
NESTED = "[" * 3000 + "]" * 3000
LINE = {"number": 0, "parameters": {}, "status": "failed"}
WRONG = [
    *({**LINE, "number": value} for value in ("x", None, [1], 10**30, -1, 1.5, True)),
    *({**LINE, "parameters": value} for value in (None, [1], "x", 5)),
    *({**LINE, "status": value} for value in ("done", None, 5, ["complete"])),
    *({**LINE, name: value} for name in ("metrics", "objectives", "constraints")
      for value in (None, [], "x", {"a": None}, {"a": [1]}, {"a": "x"}, {"a": 10**400}, {"a": True})),
    *({**LINE, name: value} for name in ("reason", "design_key", "worker", "baseline", "rung") for value in (None, 5, [])),
    *({**LINE, "cached": value} for value in ("x", 1, None)), *({**LINE, "attempt": value} for value in ("x", 1.5, None)),
    *({**LINE, "seconds": value} for value in ("x", None, -1, [])),
    *({**LINE, "half_widths": value} for value in (5, {"a": "x"}, {"a": -1})),
    *({**LINE, name: value} for name in ("samples", "replicates") for value in (5, {"a": 5}, {"a": ["x"]}, ["texts"])),
    *({**LINE, "unsure": value} for value in (5, [5], "x")), {**LINE, "unknown": 1}, {"number": 0}, [], 5, None,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: json.dumps(wrong)[:60])
def test_a_field_of_the_wrong_type_is_no_trial(wrong):
    with pytest.raises(InputError, match="is not a trial's line"):
        from_json_line(json.dumps(wrong))


@pytest.mark.parametrize("line", [NESTED, '{"number":0,"parameters":' + NESTED * 40 + "}", '{"number":NaN}', "9" * 5000])
def test_a_line_that_no_parser_likes_is_no_trial(line):
    with pytest.raises(InputError):
        from_json_line(line)


SETTINGS = {"trials": 1, "workers": 1, "seed": 0, "sampler": "random"}
HEADER = {"study_id": "a", "space_hash": "b", "code_version": "c", "seed": 0, "settings": SETTINGS, "schema": 1}


@pytest.mark.parametrize("name", HEADER)
@pytest.mark.parametrize("value", [5, None, "text", ["a"], {"a": 1}, 1e400, True, -1], ids=str)
def test_a_header_of_the_wrong_type_is_damaged(name, value, tmp_path):
    if type(value) is type(HEADER[name]) and value != -1:
        pytest.skip("of the right type")
    path = tmp_path / "trials.jsonl"
    path.write_text(json.dumps({"ledger": {**HEADER, name: value}}) + "\n")
    with pytest.raises(InputError):
        ledger.read_header(path)


@pytest.mark.parametrize(("name", "value"), [("trials", 0), ("trials", "x"), ("workers", 1.5), ("sampler", 5), ("deterministic", "x"),
                                             ("timeout_s", "x"), ("timeout_s", -1), ("trial_timeout_s", 1e999), ("tracking_uri", 5),
                                             ("storage", ["x"]), ("seeds", "x"), ("seeds", [1]), ("ladder", 5), ("other", 1)])
def test_settings_of_the_wrong_type_are_damaged(name, value):
    header = ledger.Header(**{**HEADER, "settings": {**SETTINGS, name: value}})
    with pytest.raises(InputError, match=f"settings are damaged: {name}"):
        settings_of(header)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of three trials, two of them complete."""
    space = space_of(tmp_path, PARAMETERS)
    plan = new_study(tmp_path / "out", space, Options(trials=3, workers=1, sampler="random"), Progress(Console(file=io.StringIO()), quiet=True))
    plan.ledger.close()
    return tmp_path / "out"


def _complete(folder: Path, number: int, value: float, **changes: object) -> str:
    names = [objective.name for objective in load_space(folder / "space.yaml").objectives]
    return json.dumps({"number": number, "parameters": {}, "status": "complete", "objectives": dict.fromkeys(names, value),
                       "metrics": {}, **changes})


BAD_TRIALS = [{"objectives": {}}, {"objectives": {"nobody": 1.0}}, {"objectives": {"x" * 300: "nan"}}, {"replicates": {"a": [1.0, 2.0]}},
              {"parameters": {"nobody": 1}}, {"parameters": {"tensor": {"a": [1]}}}, {"metrics": {"nobody": 1.0}}, {"rung": "moon"}]


@pytest.mark.parametrize("command", ["best", "report", "explain", "export", "ui"])
@pytest.mark.parametrize("bad", [*BAD_TRIALS, 1e308, "nan"], ids=str)
def test_no_command_ends_in_a_traceback(command, bad, folder, capsys, monkeypatch):
    monkeypatch.setattr(os, "execvpe", lambda *_: None)
    line = _complete(folder, 1, bad) if not isinstance(bad, dict) else _complete(folder, 1, 1.0, **bad)
    with (folder / "trials.jsonl").open("a") as file:
        file.write(_complete(folder, 0, 2.0) + "\n" + line + "\n")
    arguments = {"explain": ["explain", str(folder), "1"], "export": ["export", str(folder), "1", "--to", "json"]}
    code = main(arguments.get(command, [command, str(folder)]))
    printed = capsys.readouterr().err
    assert code in (0, 2), printed
    assert "bug" not in printed


def test_a_repeated_line_counts_once_and_a_contradiction_is_an_error(folder):
    path = folder / "trials.jsonl"
    with path.open("a") as file:
        file.write(_complete(folder, 0, 2.0) + "\n" + _complete(folder, 0, 2.0) + "\n")
    assert [trial.number for _, trial in ledger.stream(path)] == [0]
    with path.open("a") as file:
        file.write(_complete(folder, 0, 3.0) + "\n")
    with pytest.raises(InputError, match="two different trials 0"):
        list(ledger.stream(path))


def test_a_file_that_is_no_ledger_is_not_cut(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"a note without a newline")
    with pytest.raises(InputError, match="is not a sweep's ledger"):
        ledger.reopen(path)
    assert path.read_bytes() == b"a note without a newline"


def test_a_damaged_cost_cache_does_not_block_resume(folder):
    (folder / "costs.npz").write_bytes(b"PK torn")
    plan = resumed_study(folder, Options())
    plan.ledger.close()
    assert len(plan.costs) == 0
    assert "operator prices are computed again" in plan.notes[0]


SECRET = "postgresql+psycopg://bob:S3CRETPW@nowhere/db"


def test_a_password_is_in_no_file_that_others_may_read(tmp_path):
    space = space_of(tmp_path, PARAMETERS)
    options = Options(trials=3, workers=1, sampler="random", storage=SECRET, tracking_uri=SECRET)
    plan = new_study(tmp_path / "out", space, options, Progress(Console(file=io.StringIO()), quiet=True))
    plan.ledger.close()
    assert plan.settings.storage == SECRET
    holding = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and b"S3CRETPW" in path.read_bytes()]
    assert [path.name for path in holding] == ["private.json"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    assert resumed(tmp_path / "out").storage == resumed(tmp_path / "out").tracking_uri == SECRET
    holding[0].unlink()
    with pytest.raises(InputError, match="has no password here") as error:
        resumed(tmp_path / "out")
    assert "S3CRETPW" not in str(error.value)


def resumed(folder: Path) -> SweepSettings:
    plan = resumed_study(folder, Options())
    plan.ledger.close()
    return plan.settings
