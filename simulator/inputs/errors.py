"""`InputError`, the one error that bad input raises: file, key, what is wrong and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """An error the user can fix: file, key, what is wrong, how to correct it.

    Command lines print `str(error)` as one line and exit with code 2.
    """

    def __init__(self, message: str, *, file: str | None = None, key: str | None = None) -> None:
        self.message, self.file, self.key = message, file, key
        super().__init__(message)

    def __str__(self) -> str:
        where = [part for part in (self.file, self.key) if part]
        text = ": ".join([*where, self.message])
        return " ".join(text.split())

    def within(self, *, file: str | None = None, prefix: str | None = None) -> InputError:
        """The same error seen from further out: inside `file`, below the key `prefix`."""
        key = ".".join(part for part in (prefix, self.key) if part) or None
        return InputError(self.message, file=self.file or file, key=key)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.message, self.file, self.key))


def _rebuild(message: str, file: str | None, key: str | None) -> InputError:
    return InputError(message, file=file, key=key)


def nearest(name: object, valid: Iterable[str]) -> str:
    """' Did you mean ...?' for a misspelt name, or the list of what is valid."""
    choices = sorted({str(v) for v in valid})
    close = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    if not choices:
        return "none is allowed here"
    shown = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
    return f"one of: {shown}"
