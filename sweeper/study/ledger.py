"""The ledger: `trials.jsonl`, the source of truth of a study.

One header line, then one JSON line per finished trial, in the order of finishing. Durability contract:

- A line (or a few finished together) is handed to the operating system whole, before anything else hears of the trial:
  killing the driver (SIGKILL included) loses no finished trial.
- Lines reach the disk (fsync) every 32 trials or every second, those written together every second, and on close: a
  power cut loses at most that much.
- A torn last line (power cut, full disk) is cut off on open; a damaged line anywhere else is an error, not a skip.
- One driver per folder: an flock on the file, which dies with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from simulator.inputs.errors import InputError
from simulator.inputs.files import MIB, MOST_LINE, opened, parse_json
from sweeper.study.trial import Trial, check_trial, from_json_line

SCHEMA = 1
FILE_NAME = "trials.jsonl"
MISSING = "no study here (no such file)"
SYNC_LINES = 32
SYNC_SECONDS = 1.0
TAIL_BYTES = 1 << 20  # read at once when looking for the last newline


@dataclass(frozen=True)
class Header:
    """First line of the ledger: what the trials below belong to."""

    study_id: str  # names the sweep in MLflow; drawn once, kept by resume
    space_hash: str  # of the resolved space; a study holds trials of one space only
    code_version: str  # simulator.version
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)  # what resume repeats: trials, sampler, batch, ...
    schema: int = SCHEMA


class RemovedError(InputError):
    """The ledger's file was removed under a running sweep."""


class Ledger:
    """An open, locked ledger."""

    def __init__(self, path: Path, descriptor: int, header: Header) -> None:
        self.path, self.header = path, header
        self._descriptor = descriptor
        self._unsynced = 0
        self._last_sync = time.monotonic()

    def trials(self, objectives: Collection[str] | None = None) -> Iterator[Trial]:
        """The trials written so far, in the order of finishing. Raises InputError at a damaged line (see `stream`)."""
        return (trial for _, trial in stream(self.path, objectives))

    def append(self, trial: Trial) -> None:
        """Writes one trial. Raises InputError where the disk is full (the file is left ending in a whole line)."""
        _write(self._descriptor, self.path, trial.to_json_line().encode() + b"\n")
        self._unsynced += 1
        self.tick()

    def append_lines(self, lines: bytes) -> None:
        """Writes trials that are lines already, in one piece. Raises InputError where the disk is full."""
        _write(self._descriptor, self.path, lines)
        self._unsynced += 1
        self.tick()

    def tick(self) -> None:
        """Syncs when 32 lines or a second have gathered; the loop calls it while it waits."""
        due = time.monotonic() - self._last_sync >= SYNC_SECONDS
        if self._unsynced and (due or self._unsynced >= SYNC_LINES):
            self.sync()

    def sync(self) -> None:
        """Everything appended is on the disk afterwards. Raises RemovedError where the file is not there any more."""
        if os.fstat(self._descriptor).st_nlink == 0:
            raise RemovedError("was removed while the sweep ran", file=str(self.path))
        os.fsync(self._descriptor)
        self._unsynced, self._last_sync = 0, time.monotonic()

    def write_again(self) -> None:
        """Puts a copy of everything in this ledger, whose file was removed, where it was. Raises InputError where it cannot."""
        fresh = create(self.path, self.header)
        try:
            start = len(os.pread(self._descriptor, MOST_LINE, 0).partition(b"\n")[0]) + 1  # behind the header, which is there
            while data := os.pread(self._descriptor, TAIL_BYTES, start):
                _write(fresh._descriptor, self.path, data)
                start += len(data)
        finally:
            fresh.close()

    def close(self) -> None:
        """Syncs and releases the lock; closing twice is harmless, and so is a file that was removed."""
        if self._descriptor >= 0:
            with suppress(RemovedError):
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
    _write(descriptor, path, json.dumps({"ledger": asdict(header)}, separators=(",", ":")).encode() + b"\n")
    ledger = Ledger(path, descriptor, header)
    ledger.sync()
    return ledger


def reopen(path: Path) -> Ledger:
    """An existing ledger, locked, its torn tail cut. Raises InputError where it is missing, no ledger, or in use."""
    descriptor = _open_locked(path, 0)
    try:
        header = read_header(path)  # before anything is cut: it may be somebody else's file
        cut_torn_tail(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return Ledger(path, descriptor, header)


def read_header(path: Path) -> Header:
    """Without a lock. Raises InputError where the file is missing or no ledger."""
    with _readable(path) as file:
        return _parse_header(file.readline(MOST_LINE), path)


def read(path: Path, objectives: Collection[str] | None = None) -> tuple[Header, list[Trial]]:
    """Header and trials without a lock and without changing the file. For large studies see `stream`."""
    return read_header(path), [trial for _, trial in stream(path, objectives)]


def stream(path: Path, objectives: Collection[str] | None = None) -> Iterator[tuple[int, Trial]]:
    """(byte offset of the line, trial) in the order of finishing, one at a time; a torn last line is left out, and so are
    repetitions of a line.

    objectives: of the study's space, which every trial must fit. Raises InputError at a damaged line, and where a number has two
    different trials.
    """
    seen: set[int] = set()
    for offset, trial in _lines(path):
        if objectives is not None:
            try:
                check_trial(trial, objectives)
            except InputError as error:
                raise InputError(f"{error}; restore the file from a copy", file=str(path)) from error
        if trial.number in seen:
            first = next(t for _, t in _lines(path) if t.number == trial.number)
            if first != trial:
                raise InputError(f"has two different trials {trial.number}; restore the file from a copy", file=str(path))
            continue
        seen.add(trial.number)
        yield offset, trial


def _lines(path: Path) -> Iterator[tuple[int, Trial]]:
    with _readable(path) as file:
        offset = len(file.readline(MOST_LINE))
        number = 1
        while line := file.readline(MOST_LINE):
            number += 1
            if line.endswith(b"\n"):
                yield offset, _parse(line, number, path)
            elif len(line) == MOST_LINE:
                raise InputError(f"line {number} is longer than {MOST_LINE // MIB} MiB; restore the file from a copy",
                                 file=str(path))
            offset += len(line)


def at_offsets(path: Path, offsets: Iterable[int]) -> Iterator[Trial]:
    """The trials whose lines begin at `offsets`, in that order."""
    with _readable(path) as file:
        for offset in offsets:
            file.seek(offset)
            yield _parse(file.readline(MOST_LINE), 0, path)


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
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | flags, 0o644)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(MISSING, file=str(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot be opened: {getattr(error, 'strerror', None) or error}", file=str(path)[:200]) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError("is a device or a pipe, expected a study's ledger", file=str(path))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError("another sweep is running on this study; wait for it, or choose another folder with --out",
                         file=str(path)) from error
    return descriptor


@contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    with opened(path, missing=MISSING) as file:
        yield file


def _write(descriptor: int, path: Path, data: bytes) -> None:
    end = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError as error:
        os.ftruncate(descriptor, end)
        raise InputError(f"cannot be written: {error.strerror}; make room there, then continue with "
                         f"`python -m sweeper resume {path.parent}`",
                         file=str(path)) from error


def cut_torn_tail(descriptor: int) -> None:
    """Cuts what follows the last newline, looking for it from the end."""
    size = start = os.fstat(descriptor).st_size
    while start > 0:
        start = max(0, start - TAIL_BYTES)
        newline = os.pread(descriptor, min(TAIL_BYTES, size - start), start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
    else:
        end = 0
    if end < size:
        os.ftruncate(descriptor, end)


def _parse(line: bytes, number: int, path: Path) -> Trial:
    try:
        return from_json_line(line.decode())
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"line {number} is damaged ({error}); restore the file from a copy", file=str(path)) from error


def _parse_header(line: bytes, path: Path) -> Header:
    if not line.endswith(b"\n"):
        raise InputError("is not a sweep's ledger (no header line); start a new study with --out", file=str(path))
    try:
        fields = dict(parse_json(line)["ledger"])
        schema = fields["schema"]
    except (InputError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise InputError("is not a sweep's ledger (no header line); start a new study with --out",
                         file=str(path)) from error
    if schema != SCHEMA:
        raise InputError(f"was written with ledger schema {str(schema)[:20]}, this version reads {SCHEMA}", file=str(path))
    for name, value in fields.items():
        if name not in _HEADER or not isinstance(value, _HEADER[name]) or isinstance(value, bool):
            raise InputError(f"the header line is damaged: {name} is {str(value)[:40]!r}", file=str(path))
    if fields.get("seed", 0) < 0 or fields.keys() != _HEADER.keys():
        raise InputError("the header line is damaged: a field is missing or below 0", file=str(path))
    return Header(**fields)


_HEADER: dict[str, type] = {"study_id": str, "space_hash": str, "code_version": str, "seed": int, "settings": dict, "schema": int}
