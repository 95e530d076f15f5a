"""The exit codes of the command lines: 0 done, 2 invalid input with a one-line message, 130 interrupted."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from simulator.inputs.errors import InputError, nearest

# Of a disk that is full, read-only or failing, and of files that are not this user's.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)
TRACEBACK = "SWEEPER_TRACEBACK"  # environment variable: set, an unexpected error shows where it came from


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line with the nearest valid word, as all errors here."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.arguments: list[argparse.Action] = []  # in the order they were added, --help first
        self.commands: Mapping[str, Parser] = {}  # by name
        self._command_dest = ""
        super().__init__(*args, **keywords)

    def add_argument(self, *args: Any, **keywords: Any) -> argparse.Action:
        """As argparse's."""
        self.arguments.append(super().add_argument(*args, **keywords))
        return self.arguments[-1]

    def add_subparsers(self, **keywords: Any) -> Any:
        """As argparse's; what it returns adds to `commands`."""
        added = super().add_subparsers(**keywords)
        self.commands, self._command_dest = added.choices, str(added.dest)
        return added

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        self.exit(2, f"error: {self._mended(message)} (python -m {self.prog.removeprefix('python -m ')} --help)\n")

    def _mended(self, message: str) -> str:
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            where = "unknown command" if "COMMAND" in message else f"{message.split(':')[0].removeprefix('argument ')}:"
            return f"{where} '{choice[1]}'; {nearest(choice[1], re.findall(r'[^, ]+', choice[2].replace(chr(39), '')))}"
        return message.removeprefix("argument ")

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse's; a word that nobody takes is answered with the nearest option of the command it was given to."""
        for word in sys.argv[1:] if args is None else args:
            if not _text(word):
                self.error(f"{word[:60]!r} is not text (a name holds a NUL or bytes that are not UTF-8)")
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            chosen = getattr(parsed, self._command_dest, "")
            parser = self.commands.get(chosen, self)
            word = unknown[0]
            options = [option for action in parser.arguments for option in action.option_strings if option.startswith("--")]
            close = nearest(word.split("=")[0], options) if word.startswith("--") else ""
            parser.error(f"does not take '{' '.join(unknown)}'{f'; {close}' if 'did you mean' in close else ''}")
        return parsed


def _text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in word


def guarded(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit code. This is the border: nothing that a user can cause passes it as a traceback.

    2 and one line on stderr: bad input, what the system refuses (a disk, a file, memory), and a design whose numbers leave the
    range of arithmetic wherever that happens. 1 and one line with the way to a traceback: any other error, which is a bug. 130:
    interrupted. A closed pipe ends quietly.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="replace")  # a terminal that has no arrow gets a question mark
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=RuntimeWarning, module=r"(simulator|sweeper)\.")  # numpy's overflows
            code = command() or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get(TRACEBACK) and not isinstance(error, InputError):
            raise
        print(f"error: {_said(error)}", file=sys.stderr)
        return 2 if isinstance(error, _CAUSED_BY_INPUT) else 1


# RuntimeWarning: numpy's, of an overflow; RecursionError and MemoryError: what a file or a design asks for is too much
_CAUSED_BY_INPUT = (InputError, OSError, ArithmeticError, RuntimeWarning, RecursionError, MemoryError)


def _said(error: Exception) -> str:
    """One line for any error."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        file = f"{str(error.filename)[:200]}: " if error.filename else ""
        return f"{file}{os.strerror(error.errno) if error.errno else text}"
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{where.name}, {Path(where.filename).name}:{where.lineno}"
    if isinstance(error, MemoryError):
        return f"not enough memory ({place}); ask for less: fewer requests, smaller limits"
    if isinstance(error, _CAUSED_BY_INPUT):
        return f"a number of this input leaves the range of arithmetic ({text}, {place}); look for an implausible value"
    return f"unexpected {type(error).__name__}: {text} ({place}); this is a bug: set {TRACEBACK}=1 to see where, and report it"
