"""A study's folder: what it holds, how it is made, and how it is found again.

    trials.jsonl    the ledger              pareto.csv      the front
    space.yaml      the resolved space      trials.parquet  every trial, all metrics
    costs.npz       priced operators        best/           designs of the front, ready to run
    mlflow.db       MLflow's store          report.html     charts and tables
    summary.json    how the sweep went      private.json    URLs with passwords, mode 0600
"""

from __future__ import annotations

import uuid
from dataclasses import asdict
from pathlib import Path

from simulator.inputs.errors import InputError
from simulator.version import simulator_version
from sweeper.space.file import load_space
from sweeper.space.resolved_yaml import resolved_yaml
from sweeper.space.space import Space
from sweeper.study import ledger, private
from sweeper.study.ledger import Header, Ledger
from sweeper.study.settings import SweepSettings

SPACE_FILE = "space.yaml"
COSTS_FILE = "costs.npz"
SUMMARY_FILE = "summary.json"
ARTIFACTS = (SPACE_FILE, "pareto.csv", "trials.parquet", "report.html", SUMMARY_FILE, "best")


def create(folder: Path, space: Space, settings: SweepSettings) -> Ledger:
    """A new study. Raises InputError where the folder holds one already, saying what to do about it."""
    path = folder / ledger.FILE_NAME
    if path.exists() and path.stat().st_size:
        header = ledger.read_header(path)
        if header.space_hash != space.hash:
            raise InputError("holds a study of another space; choose another folder with --out", file=str(folder))
        count = sum(1 for _ in ledger.stream(path))
        raise InputError(f"holds this study already ({count} of {header.settings.get('trials')} trials); continue "
                         f"it with `python -m sweeper resume {folder}`, or choose another folder with --out",
                         file=str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SPACE_FILE).write_text(resolved_yaml(space), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(folder)) from error
    private.keep(folder, asdict(settings))
    said = private.without_secrets(asdict(settings))
    return ledger.create(path, Header(uuid.uuid4().hex, space.hash, simulator_version(), settings.seed, said))


def restore(folder: Path, space: Space, removed: Ledger, settings: SweepSettings) -> None:
    """Makes again what a running sweep's folder needs to be resumed, after it (or its ledger) was removed. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / SPACE_FILE).exists():
            (folder / SPACE_FILE).write_text(resolved_yaml(space), encoding="utf-8")
        private.keep(folder, asdict(settings))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(folder)) from error
    removed.write_again()


def reopen(folder: Path) -> tuple[Space, Ledger]:
    """The study in a folder, locked. Raises InputError where it is missing, in use, or its space was changed."""
    reopened = ledger.reopen(folder / ledger.FILE_NAME)
    try:
        return space_of(folder, reopened.header), reopened
    except BaseException:
        reopened.close()
        raise


def space_of(folder: Path, header: Header) -> Space:
    """The space of a study. Raises InputError where `space.yaml`, or a file that it names, was changed since."""
    space = load_space(folder / SPACE_FILE)
    if space.hash != header.space_hash:
        raise InputError("is not the space that this study began with (it, or a file in configs/ that it names, was "
                         "changed); undo that, or start a new study with --out", file=str(folder / SPACE_FILE))
    return space
