"""The command line and the API decide every setting alike, whether the space says it, an option does, or neither."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from simulator.inputs.errors import InputError
from simulator.pricing import cache
from simulator.pricing.cache import from_entries
from sweeper import api
from sweeper.__main__ import main
from sweeper.command_line import build_parser
from sweeper.commands import run as command
from sweeper.run.settings import Options, Plan
from sweeper.space.space import Space
from sweeper.study import folder as study_folder
from sweeper.study.ending import Ending
from sweeper.study.settings import SweepSettings
from tests.sweeper.spaces import OBJECTIVES, space_of
from tests.sweeper.studies import finished

PARAMETERS = "  parallelism.tensor: {ordinal: [1, 2, 4]}\n  serving.max_num_seqs: {ordinal: [16, 32, 64, 128]}"
SAID = {"sampler": "random", "trials": 5}  # in the space where a case is about something else
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Case:
    """A setting: the field it decides, its value from the space's file and from an option, and what each means."""

    option: str
    field: str
    neither: Any
    space: Any = None  # as the file says it; None: a file cannot
    from_space: Any = None
    given: Any = None
    from_option: Any = None


CASES = [
    Case("trials", "trials", 200, 7, 7, 9, 9),
    Case("workers", "workers", CORES, 3, 3, 5, 5),
    Case("seed", "seed", 0, 11, 11, 12, 12),
    Case("sampler", "sampler", "exhaustive", "nsga2", "nsga2", "qmc", "qmc"),
    Case("timeout", "timeout_s", None, "10 min", 600.0, "90 s", 90.0),
    Case("trial_timeout", "trial_timeout_s", 300.0, "20 minute", 1200.0, "7", 7.0),
    Case("ladder", "ladder", False, "on", True, "on", True),
    Case("deterministic", "deterministic", False, given=True, from_option=True),
    Case("tracking_uri", "tracking_uri", None, given="http://localhost:5000", from_option="http://localhost:5000"),
    Case("storage", "storage", None, given="sqlite:///trials.db", from_option="sqlite:///trials.db"),
]


class Launched:
    """What the command line and the API hand over instead of running it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: list[Plan] = []
        monkeypatch.setattr(command, "launch", self)
        monkeypatch.setattr(api, "launch", self)
        monkeypatch.setattr("sweeper.run.settings.check_address", lambda _: None)

    def __call__(self, plan: Plan, _progress: object) -> Ending:
        self.plans.append(plan)
        plan.ledger.close()
        return Ending("complete", None, {})  # type: ignore[arg-type]

    def both(self, folder: Path, words: list[str], **keywords: Any) -> tuple[Plan, Plan]:
        """The plans that the command line and the API make of the space in `folder`."""
        assert main(["run", str(folder / "space.yaml"), "--out", str(folder / "a"), "--quiet", *words]) == 0
        api.run(folder / "space.yaml", folder / "b", **keywords)
        return self.plans[-2], self.plans[-1]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launched:
    return Launched(monkeypatch)


def words(option: str, value: Any) -> list[str]:
    name = f"--{option.replace('_', '-')}"
    return [name] if value is True else [name, str(value)]


def space(folder: Path, said: dict[str, Any]) -> Space:
    study = "".join(f"  {name}: {value!r}\n" for name, value in said.items())
    return space_of(folder, PARAMETERS, rest=OBJECTIVES + (f"study:\n{study}" if study else ""))


@pytest.mark.parametrize(("case", "who"), [
    pytest.param(case, who, id=f"{case.option}-{who}") for case in CASES
    for who in ("neither", "option", *(("space", "option against space") if case.space is not None else ()))])
def test_a_setting_is_decided_alike(case: Case, who: str, tmp_path: Path, launched: Launched) -> None:
    said = {name: value for name, value in SAID.items() if name != case.option}
    if "space" in who:
        said[case.option] = "off" if case.option == "ladder" and who != "space" else case.space
    space(tmp_path, said)
    given = "option" in who
    shell, python = launched.both(tmp_path, words(case.option, case.given) if given else [],
                                  **({case.option: case.given} if given else {}))
    expected = case.from_option if given else case.from_space if who == "space" else case.neither
    assert getattr(shell.settings, case.field) == expected
    assert shell.settings == python.settings
    assert (shell.address, shell.elastic, shell.notes) == (python.address, python.elastic, python.notes)


def test_a_cluster_a_cache_and_a_warm_start_are_taken_alike(tmp_path: Path, launched: Launched) -> None:
    opened = space(tmp_path, SAID)
    finished(tmp_path / "before", opened, [next(opened.enumerate())])
    cache.save(from_entries({7: (cache.empty().values, 0.1)}), tmp_path / "costs.npz")
    shell, python = launched.both(
        tmp_path, ["--address", "10.0.0.1:6379", "--cache", str(tmp_path / "costs.npz"), "--warm-start", str(tmp_path / "before")],
        address="10.0.0.1:6379", cache=tmp_path / "costs.npz", warm=[tmp_path / "before"])
    for plan in (shell, python):
        assert (plan.address, plan.elastic, len(plan.costs)) == ("10.0.0.1:6379", True, 1)
        assert plan.settings.trials == 5 + 1
    assert shell.settings == python.settings


def test_an_interrupted_study_goes_on_alike(tmp_path: Path, launched: Launched) -> None:
    space(tmp_path, {**SAID, "trial_timeout": "20 minute", "workers": 3, "timeout": "10 min"})
    api.run(tmp_path / "space.yaml", tmp_path / "study")
    for changes, expected in (({}, {}), ({"trials": 8, "workers": 1, "trial_timeout": "9 s", "storage": "x.log"},
                                         {"trials": 8, "workers": 1, "trial_timeout_s": 9.0, "storage": "x.log"}),
                              ({"timeout": "3 min", "tracking_uri": "http://localhost:1"},
                               {"timeout_s": 180.0, "tracking_uri": "http://localhost:1"})):
        assert main(["resume", str(tmp_path / "study"), "--quiet", *(w for o, v in changes.items() for w in words(o, v))]) == 0
        api.Study(tmp_path / "study").resume(**changes)
        shell, python = launched.plans[-2:]
        assert shell.settings == python.settings
        kept = {"trials": 5, "workers": 3, "trial_timeout_s": 1200.0, "timeout_s": None, "sampler": "random"}
        assert {**kept, **expected}.items() <= vars(shell.settings).items()


@pytest.mark.parametrize(("option", "value"), [
    ("trials", 0), ("workers", -1), ("seed", -1), ("sampler", "grid"), ("timeout", "0 s"), ("trial_timeout", "soon"),
    ("tracking_uri", "mlruns"), ("storage", "redis://x"), ("cache", "missing.npz")])
def test_a_wrong_option_is_refused_alike(option: str, value: Any, tmp_path: Path, launched: Launched,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    space(tmp_path, SAID)
    assert main(["run", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "a"), "--quiet", *words(option, value)]) == 2
    with pytest.raises(InputError) as refused:
        api.run(tmp_path / "space.yaml", tmp_path / "b", **{option: value})
    assert capsys.readouterr().err == f"error: {refused.value}\n"
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_no_option_is_missing_anywhere() -> None:
    """An option added to one of the two belongs to the other, and a case of its own above."""
    options = {field.name for field in fields(Options)}
    assert options == {case.option for case in CASES} | {"address", "cache", "warm_start"}
    python = inspect.signature(api.run).parameters.keys() - {"space", "folder", "quiet"}
    assert {"warm_start" if name == "warm" else name for name in python} == options
    shell = vars(build_parser().parse_args(["run", "quick"])).keys()
    assert options <= shell
    assert shell - options == {"command", "run", "space", "out", "overrides", "quiet"}
    resume = inspect.signature(api.Study.resume).parameters.keys() - {"self", "quiet"}
    assert resume == vars(build_parser().parse_args(["resume", "x"])).keys() - {"command", "run", "folder", "quiet"}
    assert {field.name for field in fields(SweepSettings)} == {case.field for case in CASES} | {"seeds", "planned"}


def test_the_folder_keeps_the_settings(tmp_path: Path, launched: Launched) -> None:
    space(tmp_path, SAID)
    shell, python = launched.both(tmp_path, [])
    for plan in (shell, python):
        assert study_folder.ledger.read_header(plan.ledger.path).settings["sampler"] == "random"
