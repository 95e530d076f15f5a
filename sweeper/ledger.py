"""The ledger: `trials.jsonl`, the source of truth of a study.

One header line, then one JSON line per finished trial, in the order of finishing. Durability contract:

- A line is handed to the operating system whole, before anything else hears of the trial: killing the driver
  (SIGKILL included) loses no finished trial.
- Lines reach the disk (fsync) every 32 lines or every second, and on close: a power cut loses at most that much.
- A torn last line (power cut, full disk) is cut off on open; a damaged line anywhere else is an error, not a skip.
- One driver per folder: an flock on the file, which dies with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simulator.inputs.errors import InputError
from sweeper.trial import Trial, from_json_line

SCHEMA = 1
FILE_NAME = "trials.jsonl"
SYNC_LINES = 32
SYNC_SECONDS = 1.0


@dataclass(frozen=True)
class Header:
    """First line of the ledger: what the trials below belong to."""

    study_id: str  # names the sweep in MLflow; drawn once, kept by resume
    space_hash: str  # of the resolved space; a study holds trials of one space only
    code_version: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)  # what resume repeats: trials, sampler, batch, ...
    schema: int = SCHEMA


class Ledger:
    """An open, locked ledger: its `header` and the `trials` found on open, in the order of finishing."""

    def __init__(self, path: Path, descriptor: int, header: Header, trials: Sequence[Trial]) -> None:
        self.path, self.header, self.trials = path, header, tuple(trials)
        self._descriptor = descriptor
        self._unsynced = 0
        self._last_sync = time.monotonic()

    def append(self, trial: Trial) -> None:
        """Writes one trial. Raises InputError where the disk is full (the file is left ending in a whole line)."""
        _write_line(self._descriptor, self.path, trial.to_json_line())
        self._unsynced += 1
        self.tick()

    def tick(self) -> None:
        """Syncs when 32 lines or a second have gathered; the loop calls it while it waits."""
        due = time.monotonic() - self._last_sync >= SYNC_SECONDS
        if self._unsynced and (due or self._unsynced >= SYNC_LINES):
            self.sync()

    def sync(self) -> None:
        """Everything appended is on the disk afterwards."""
        os.fsync(self._descriptor)
        self._unsynced, self._last_sync = 0, time.monotonic()

    def close(self) -> None:
        """Syncs and releases the lock; closing twice is harmless."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1


def create(path: Path, header: Header) -> Ledger:
    """A new ledger with `header`. Raises InputError where one exists already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_locked(path, os.O_CREAT)
    if os.fstat(descriptor).st_size:
        os.close(descriptor)
        raise InputError("holds a study already", file=str(path))
    _write_line(descriptor, path, json.dumps({"ledger": asdict(header)}, separators=(",", ":")))
    ledger = Ledger(path, descriptor, header, [])
    ledger.sync()
    return ledger


def reopen(path: Path) -> Ledger:
    """An existing ledger, locked, its torn tail cut. Raises InputError where it is missing, damaged or in use."""
    descriptor = _open_locked(path, 0)
    try:
        whole = _cut_torn_tail(descriptor, path)
        header, trials = _parse(whole, path)
    except BaseException:
        os.close(descriptor)
        raise
    return Ledger(path, descriptor, header, trials)


def read(path: Path) -> tuple[Header, list[Trial]]:
    """Header and trials without a lock and without changing the file: for reports beside a running driver."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    return _parse(data[: data.rfind(b"\n") + 1], path)


def in_use(path: Path) -> bool:
    """Whether a driver holds this ledger."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open_locked(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o644)
    except FileNotFoundError as error:
        raise InputError("no study here (no such file)", file=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be opened: {error.strerror}", file=str(path)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError("another sweep is running on this study; wait for it, or choose another folder with --out",
                         file=str(path)) from error
    return descriptor


def _write_line(descriptor: int, path: Path, line: str) -> None:
    data = (line + "\n").encode()
    end = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError as error:
        os.ftruncate(descriptor, end)
        raise InputError(f"cannot be written: {error.strerror}; free some space, then resume",
                         file=str(path)) from error


def _cut_torn_tail(descriptor: int, path: Path) -> bytes:
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.ftruncate(descriptor, end)
    return data[:end]


def _parse(data: bytes, path: Path) -> tuple[Header, list[Trial]]:
    lines = data.splitlines()
    header = _parse_header(lines[0] if lines else b"", path)
    trials: list[Trial] = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            trials.append(from_json_line(line.decode()))
        except (InputError, UnicodeDecodeError) as error:
            raise InputError(f"line {number} is damaged ({error}); restore the file from a copy",
                             file=str(path)) from error
    return header, trials


def _parse_header(line: bytes, path: Path) -> Header:
    try:
        fields = json.loads(line)["ledger"]
        schema = fields["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("is not a sweep's ledger (no header line); start a new study with --out",
                         file=str(path)) from error
    if schema != SCHEMA:
        raise InputError(f"was written with ledger schema {schema}, this version reads {SCHEMA}", file=str(path))
    try:
        return Header(**fields)
    except TypeError as error:
        raise InputError(f"the header line is damaged: {error}", file=str(path)) from error
