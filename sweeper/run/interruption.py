"""Ctrl-C and SIGTERM: the first one ends a sweep in order, the second one at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interruption:
    """Catches the signals inside a `with` block; `caught` says whether one came. A second one raises KeyboardInterrupt.

    say: takes a line of text.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.caught = False
        self._say = say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.caught:
            raise KeyboardInterrupt
        self.caught = True
        self._say("stopping ... (once more: at once)")
