"""The write-behind thread: the study hands trials over and never waits; MLflow's troubles never stop a sweep.

After a failure there is one warning and a new try every half minute, at the end, and on resume; what MLflow already has
is asked from MLflow, so that nothing is missing and nothing is logged twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.sinks.mlflow_labels import Labels, at_step
from sweeper.sinks.mlflow_runs import STEP_METRIC, SweepRun
from sweeper.study.trial import Trial

BATCH_TRIALS = 32
BATCH_SECONDS = 2.0
RETRY_SECONDS = 30.0
CLOSE_SECONDS = 120.0  # how long the end of a sweep waits for MLflow


@dataclass(frozen=True)
class Closing:
    """What the end of a sweep adds to its run."""

    status: str  # FINISHED, FAILED or KILLED
    children: Sequence[Trial]
    files: Sequence[Path]
    numbers: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracker:
    """Logs one sweep. `warn` takes a line of text, from the thread. `earlier`: trials of the run that is resumed."""

    def __init__(self, uri: str, labels: Labels, warn: Callable[[str], None], earlier: Sequence[Trial] = ()) -> None:
        self._uri, self._labels, self._warn = uri, labels, warn
        self._steps = [step_of(trial, labels, {}) for trial in earlier]
        self._sent = 0
        self._run: SweepRun | None = None
        self._closing: Closing | None = None
        self._warned = False
        self._retry_at_s = 0.0
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="mlflow", daemon=True)
        self.complete = False  # everything was logged

    def start(self) -> None:
        self._wake.set()  # connects while Ray starts: importing MLflow and making its tables cost seconds of a core
        self._thread.start()

    def add(self, trial: Trial, extra: Mapping[str, float]) -> None:
        """Hands a finished trial over, with numbers of the sweep at that moment."""
        self._steps.append(step_of(trial, self._labels, extra))
        if len(self._steps) - self._sent >= BATCH_TRIALS:
            self._wake.set()

    def note(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of the sweep after `step` trials, where single trials are too many to log."""
        self._steps.append((step, {**numbers, STEP_METRIC: 1.0}))

    def close(self, closing: Closing) -> bool:
        """Waits until everything is logged, at most two minutes; False where MLflow could not be written."""
        self._closing = closing
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)
        if not self.complete:
            self._warn("MLflow does not have the whole sweep; `resume` on this folder brings it up to date")
        return self.complete

    def _loop(self) -> None:
        while not self.complete:
            self._wake.wait(BATCH_SECONDS)
            self._wake.clear()
            closing = self._closing
            if closing is None and time.monotonic() < self._retry_at_s:
                continue
            try:
                self._write(closing)
                self._retry_at_s = 0.0
            except Exception as error:  # any failure of a tracking server is only a warning
                self._retry_at_s = time.monotonic() + RETRY_SECONDS
                self._run = None  # connect afresh, and ask again what is there
                self._sent = 0
                if not self._warned:
                    self._warned = True
                    self._warn(f"MLflow at {self._uri} cannot be written ({_first_line(error)}); the sweep goes on and "
                               "catches up later")
                if closing is not None:
                    return

    def _write(self, closing: Closing | None) -> None:
        if self._run is None:
            self._run = SweepRun(self._uri, self._labels)
            self._run.close_dead_runs()
        while self._sent < len(self._steps):
            batch = self._steps[self._sent: self._sent + BATCH_TRIALS]
            self._run.log_steps(batch)
            self._sent += len(batch)
        if closing is not None:
            self._run.log_children(closing.children)
            self._run.log_files(closing.files)
            self._run.log_summary(closing.numbers, closing.tags)
            self._run.end(closing.status)
            self.complete = True


def step_of(trial: Trial, labels: Labels, extra: Mapping[str, float]) -> tuple[int, Mapping[str, float]]:
    """A trial as a step of the run: its number and metrics."""
    return trial.number, {**at_step(trial, labels.columns), "trial_seconds": trial.seconds, **extra,
                          STEP_METRIC: float(trial.status == "complete")}


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text[:200]}"
