"""The progress of a sweep: one live screen on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeper.run.screen import View, line, screen
from sweeper.sinks.follower import Follower
from sweeper.space.space import Space
from sweeper.study.settings import SweepSettings
from sweeper.study.tally import Tally

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 5.0
WINDOW_SECONDS = 10.0  # over which trials/s is measured
MAX_CURVE = 512  # points of the hypervolume kept; every second one goes when there are more
SLOW_ENGINE = "preparing the serving engine (the first time on a machine it is compiled: 20-40 s) ..."
SLOW_SECONDS = 4.0  # a step of the start that takes longer is explained


class Progress:
    """Shows a sweep as it changes. `console` should write to stderr."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._interval_s = REFRESH_SECONDS if console.is_terminal else PLAIN_SECONDS
        self._quiet = quiet
        self._said = -1
        self._warned: set[str] = set()
        live = console.is_terminal and not quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None
        self._window: deque[tuple[float, int]] = deque()
        self._curve: list[float] = []  # hypervolume at even distances
        self._stride, self._shows = 1, 0
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
        return not self._quiet and time.monotonic() - self._shown_s >= self._interval_s

    def say(self, text: str) -> None:
        """A line that stays: what happens."""
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line that stays, said once however often it comes."""
        if text not in self._warned:
            self._warned.add(text)
            self.say(text)

    def starting(self, text: str) -> None:
        """What happens before the first numbers and after the last ones."""
        if self._live:
            self._live.update(Text(text, "dim"), refresh=True)
        else:
            self.say(text)

    @contextmanager
    def explained(self, slow: str) -> Iterator[None]:
        """Says `slow` when what is done inside takes longer than a moment."""
        timer = threading.Timer(SLOW_SECONDS, self.say, [slow])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def begin(self) -> None:
        """Trials begin now: time and rate count from here."""
        self._started_s = time.monotonic()

    def show(self, view: View) -> None:
        """The numbers now; rate and time of the view are filled in here."""
        if self._quiet:
            return
        self._shown_s = time.monotonic()
        done = view.tally.done
        view = replace(view, rate=self._rate(done), elapsed_s=self._shown_s - self._started_s)
        if self._live:
            if len(view.tally.front):
                self._remember(view.tally.front.hypervolume())
            self._live.update(screen(view, self._curve, self._console.width), refresh=True)
        elif done != self._said:
            self._said = done
            self.say(line(view))

    def _rate(self, done: int) -> float:
        self._window.append((self._shown_s, done))
        while len(self._window) > 2 and self._window[0][0] < self._shown_s - WINDOW_SECONDS:
            self._window.popleft()
        (start_s, start), (end_s, end) = self._window[0], self._window[-1]
        return (end - start) / (end_s - start_s) if end_s > start_s else 0.0

    def _remember(self, hypervolume: float) -> None:
        if self._shows % self._stride == 0:
            self._curve.append(hypervolume)
            if len(self._curve) > MAX_CURVE:
                del self._curve[1::2]
                self._stride *= 2
        self._shows += 1


class Screen(Follower):
    """Shows a sweep's numbers. `workers` (a `sweeper.workers.pool.Pool`) is set once they are there."""

    def __init__(self, progress: Progress, space: Space, settings: SweepSettings, tally: Tally) -> None:
        self._progress, self._space, self._settings, self._tally = progress, space, settings, tally
        self.workers: Any = None

    def on_tick(self) -> None:
        """Shows them where it is time to."""
        if self._progress.due:
            self.show()

    def show(self) -> None:
        """Shows them now."""
        space, settings, tally = self._space, self._settings, self._tally
        total, size = settings.trials, space.size() if settings.exhaustive else None
        if size is not None:
            total = min(total, size + len(space.baselines) - tally.rejected.total())
        self._progress.show(View(tally, space.objectives, total, self.workers.workers, f"{space.name}, {settings.sampler}"))
