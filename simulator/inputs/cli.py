"""How command lines end: 0 done, 2 bad input told in one line, 130 interrupted."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from simulator.inputs.errors import InputError, nearest

# Of a disk that is full, read-only or failing, and of files that are not this user's.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line with the nearest valid word, as all errors here."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        self.exit(2, f"error: {self._mended(message)} (python -m {self.prog.removeprefix('python -m ')} --help)\n")

    def _mended(self, message: str) -> str:
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            where = "unknown command" if "COMMAND" in message else f"{message.split(':')[0].removeprefix('argument ')}:"
            return f"{where} '{choice[1]}'; {nearest(choice[1], re.findall(r'[^, ]+', choice[2].replace(chr(39), '')))}"
        unknown = re.fullmatch(r"unrecognized arguments: (.*)", message)
        if unknown:
            word = unknown[1].split()[0]
            options = [o for o in self._every_option() if o.startswith("--")]
            close = f"; {nearest(word.split('=')[0], options)}" if word.startswith("--") else ""
            return f"does not take '{unknown[1]}'{close if 'did you mean' in close else ''}"
        return message.removeprefix("argument ")

    def _every_option(self) -> list[str]:
        """The options of this parser and of its commands."""
        found = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [option for parser in action.choices.values() for option in parser._option_string_actions]
        return found


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
