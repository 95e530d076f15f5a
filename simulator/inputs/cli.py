"""The exit codes of the command lines: 0 done, 2 invalid input with a one-line message, 130 interrupted."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from simulator.inputs.errors import InputError, nearest

# Of a disk that is full, read-only or failing, and of files that are not this user's.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)


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
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            chosen = getattr(parsed, self._command_dest, "")
            parser = self.commands.get(chosen, self)
            word = unknown[0]
            options = [option for action in parser.arguments for option in action.option_strings if option.startswith("--")]
            close = nearest(word.split("=")[0], options) if word.startswith("--") else ""
            parser.error(f"does not take '{' '.join(unknown)}'{f'; {close}' if 'did you mean' in close else ''}")
        return parsed


def guarded(command: Callable[[], int | None]) -> int:
    """Runs a command; bad input becomes one line on stderr and exit code 2, so does a disk that cannot be
    written; a closed pipe ends quietly."""
    try:
        code = command() or 0
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # of the disk, and a closed pipe
        return _ended_by(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _ended_by(error: OSError) -> int:
    """The exit code. Raises what is neither a closed pipe nor the disk's."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if error.errno not in DISK_ERRORS:
        raise error
    print(f"error: {f'{error.filename}: ' if error.filename else ''}{os.strerror(error.errno)}", file=sys.stderr)
    return 2
