"""The doctor's checks, each in a healthy and a sick state."""

from __future__ import annotations

import importlib.metadata
from collections import namedtuple
from pathlib import Path

import pytest

from sweeper.commands import doctor

Usage = namedtuple("Usage", "total used free")


def test_this_environment_is_fit() -> None:
    assert [c for c in (doctor.python(), *doctor.packages()) if c.state == "fail"] == []


def test_a_version_out_of_range_is_named_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.1.0" if name == "optuna" else real(name))
    failed = [c for c in doctor.packages() if c.state == "fail"]
    assert [c.name for c in failed] == ["optuna"]
    assert "4.1.0 does not fit" in failed[0].text and "pip install 'optuna" in failed[0].text


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "wants", lambda: (">=3.11", ["surely-not-installed>=2"]))
    first = next(doctor.packages())
    assert (first.state, first.name) == ("fail", "surely-not-installed")


def test_a_full_disk_warns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: Usage(100e9, 99e9, 1e9))
    assert doctor.disk(tmp_path).state == "warn"


def test_no_write_access_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    check = doctor.writable(tmp_path)
    assert check.state == "fail" and "Permission denied" in check.text and "--out" in check.text


def test_another_cluster_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_command", lambda process: "/ray/core/src/ray/gcs/gcs_server\0--port=1")
    assert doctor.stale_clusters().state == "warn"
    monkeypatch.setattr(doctor, "_command", lambda process: "/usr/bin/python\0script.py")
    assert doctor.stale_clusters().state == "ok"


def test_a_check_that_raises_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Check:
        raise RuntimeError("no\nraylet")

    check = doctor.guarded("Ray", broken)
    assert (check.state, check.text) == ("fail", "RuntimeError: no raylet")
    monkeypatch.setattr(doctor, "checks", lambda: iter([check]))
    from sweeper.__main__ import main

    assert main(["doctor"]) == 1
    assert "fail Ray" in capsys.readouterr().out.replace("  ", " ")
