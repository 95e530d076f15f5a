"""What a person sees while a sweep runs: one live line block on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.text import Text

REFRESH_SECONDS = 0.25
PLAIN_SECONDS = 5.0
WINDOW_SECONDS = 10.0  # over which trials/s is measured


@dataclass(frozen=True)
class Status:
    """Numbers of a running sweep."""

    done: int
    total: int
    feasible: int
    infeasible: int
    failed: int
    front: int
    hypervolume: float
    hit_rate: float  # of the operator-cost cache
    saved_s: float


class Progress:
    """Shows `Status` as it changes. `console` should write to stderr."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._interval_s = REFRESH_SECONDS if console.is_terminal else PLAIN_SECONDS
        self._quiet = quiet
        self._said = -1
        live = console.is_terminal and not quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None
        self._window: deque[tuple[float, int]] = deque()
        self._shown_s = self._started_s = time.monotonic()

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def due(self) -> bool:
        """Whether it is time for another `show` (so that the caller need not gather numbers in vain)."""
        return time.monotonic() - self._shown_s >= self._interval_s

    def say(self, text: str) -> None:
        """A line that stays: what happens, warnings."""
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, status: Status) -> None:
        """The numbers now."""
        self._shown_s = time.monotonic()
        rate = self._rate(status.done)
        if self._live:
            self._live.update(Text(describe(status, rate, elapsed_s=self._shown_s - self._started_s)), refresh=True)
        elif status.done != self._said:
            self._said = status.done
            self.say(describe(status, rate, elapsed_s=self._shown_s - self._started_s))

    def _rate(self, done: int) -> float:
        self._window.append((self._shown_s, done))
        while len(self._window) > 2 and self._window[0][0] < self._shown_s - WINDOW_SECONDS:
            self._window.popleft()
        (start_s, start), (end_s, end) = self._window[0], self._window[-1]
        return (end - start) / (end_s - start_s) if end_s > start_s else 0.0


def describe(status: Status, rate: float, *, elapsed_s: float) -> str:
    """One line: '120/200 trials, 80 feasible (2 failed), front 14, hypervolume 1.2e+03, 43 trials/s, ...'."""
    failed = f", {status.failed} failed" if status.failed else ""
    left = status.total - status.done
    eta = f"ETA {clock(left / rate)}" if rate > 0 and left > 0 else f"{clock(elapsed_s)} elapsed"
    return (f"{status.done}/{status.total} trials, {status.feasible} feasible{failed}, front {status.front}, "
            f"hypervolume {status.hypervolume:.4g}, {rate:.1f} trials/s, cache {status.hit_rate:.0%} hits "
            f"({status.saved_s:.1f} s saved), {eta}")


def clock(seconds: float) -> str:
    """'7 s', '3 min 20 s', '2 h 5 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
