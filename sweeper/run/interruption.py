"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal): the first one ends a sweep in order, the second one at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Catches the signals inside a `with` block; `caught` says whether one came. A second one raises KeyboardInterrupt.

    say: takes a line of text.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.caught = False
        self._say = say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup's SIGHUP stays ignored
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.caught:
            raise KeyboardInterrupt
        self.caught = True
        with suppress(OSError):  # the terminal may be gone
            self._say("stopping ... (once more: at once)")
