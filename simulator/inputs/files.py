"""The one way to open a file that a user names: a regular file, of bounded size, unpacked to a bounded size, in lines of bounded
length. Every limit is said in the error.

A device or a pipe is refused before a byte is read, so no reader needs a time limit: what is left ends.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

from simulator.inputs.errors import InputError

MIB = 1024 * 1024
MOST_TEXT = 64 * MIB  # of a file that is read whole
MOST_LINE = 16 * MIB
MOST_UNPACKED = 64 * 1024 * MIB  # of a file that is read in lines
MOST_RATIO = 200  # of a compressed file's contents to its size; CSV and JSON reach 5 to 50, gzip's best is 1,032
FREE_UNPACKED = 64 * MIB  # below which the ratio does not count


@contextmanager
def opened(path: Path, *, most: int | None = None, missing: str = "no such file", key: str | None = None) -> Iterator[BinaryIO]:
    """The file, open for reading bytes. most: larger files are refused.

    Raises InputError that names the file where it is missing, no regular file, too large or unreadable, and turns what goes
    wrong while it is read (the system's errors, text that is not UTF-8, damaged gzip) into one.
    """
    name = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # O_NONBLOCK: a pipe without a writer opens
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(missing, file=name, key=key) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot be opened: {getattr(error, 'strerror', None) or error}", file=name[:200], key=key) from error
    try:
        _check_regular(os.fstat(descriptor), most, name, key)
    except InputError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        try:
            yield io.BufferedReader(_Counted(file, most, name)) if most is not None else file
        except UnicodeDecodeError as error:
            raise InputError("is not a text file (UTF-8 expected)", file=name, key=key) from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"cannot be unpacked: {error}", file=name, key=key) from error
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", file=name, key=key) from error


def is_there(path: Path) -> bool:
    """Whether the name leads to anything, a broken link included. Raises InputError for a name that cannot be one."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: a NUL
        raise InputError(f"cannot be a file: {getattr(error, 'strerror', None) or error}", file=str(path)[:200]) from error
    return True


def read_bytes(path: Path, *, most: int = MOST_TEXT, missing: str = "no such file", key: str | None = None) -> bytes:
    """The whole file. Raises InputError as `opened` does."""
    with opened(path, most=most, missing=missing, key=key) as file:
        return file.read()


def read_text(path: Path, *, most: int = MOST_TEXT, missing: str = "no such file", key: str | None = None) -> str:
    """The whole file as text, a byte order mark left out. Raises InputError as `opened` does."""
    try:
        return read_bytes(path, most=most, missing=missing, key=key).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not a text file (UTF-8 expected)", file=str(path), key=key) from error


@contextmanager
def open_lines(path: Path, *, missing: str = "no such file", key: str | None = None) -> Iterator[IO[str]]:
    """The text of a file in lines with their ends as they are, compressed by gzip or not.

    Raises InputError as `opened` does, also for a line above MOST_LINE, and for contents above MOST_UNPACKED or MOST_RATIO
    times the size of a compressed file.
    """
    with opened(path, missing=missing, key=key) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        most = min(MOST_UNPACKED, max(FREE_UNPACKED, MOST_RATIO * size)) if packed else MOST_UNPACKED
        source = gzip.GzipFile(fileobj=file) if packed else file
        yield io.TextIOWrapper(io.BufferedReader(_Counted(source, most, str(path), lines=True), MIB), "utf-8-sig", newline="")


def parse_json(text: str | bytes, *, file: str | None = None, key: str | None = None) -> Any:
    """Strict JSON: no NaN, no Infinity, no nesting that exhausts the stack. Raises InputError."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise InputError("is not JSON that can be read: nested too deep", file=file, key=key) from error
    except ValueError as error:
        raise InputError(f"is not JSON: {str(error)[:200]}", file=file, key=key) from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _check_regular(status: os.stat_result, most: int | None, name: str, key: str | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder, expected a file", file=name, key=key)
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is a device or a pipe, expected a regular file (write it to one first)", file=name, key=key)
    if most is not None and status.st_size > most:
        raise InputError(f"is larger than {_size(most)}, the most that is read", file=name, key=key)


def _size(count: int) -> str:
    return f"{count // MIB:,} MiB"


class _Counted(io.RawIOBase):
    """A stream that ends in InputError when it gives more than `most` bytes, or a line above MOST_LINE."""

    def __init__(self, source: IO[bytes] | gzip.GzipFile, most: int, name: str, *, lines: bool = False) -> None:
        self._source, self._most, self._name, self._lines = source, most, name, lines
        self._given = self._line = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return not self._lines

    def fileno(self) -> int:
        return self._source.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        self._given = 0
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def readinto(self, buffer: Any) -> int:
        chunk = self._source.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._given += len(chunk)
        if self._given > self._most:
            raise InputError(f"holds more than {_size(self._most)}, the most that is read", file=self._name)
        if self._lines:
            last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
            self._line = len(chunk) - 1 - last if last >= 0 else self._line + len(chunk)
            if self._line > MOST_LINE:
                raise InputError(f"has a line of more than {_size(MOST_LINE)}, the longest that is read", file=self._name)
        return len(chunk)
