"""A sweep copied to MLflow while it runs. What MLflow already has is asked from MLflow, so that nothing is missing and
nothing is logged twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from simulator.inputs.secrets import masked
from sweeper.sinks.follower import StoreFollower
from sweeper.sinks.mlflow_labels import Labels, at_step
from sweeper.sinks.mlflow_runs import STEP_METRIC, SweepRun
from sweeper.study.ending import Ending
from sweeper.study.folder import ARTIFACTS
from sweeper.study.tally import Tally
from sweeper.study.trial import Trial

BATCH_TRIALS = 32
NOTE_TRIALS = 16  # between two steps that also hold the sweep's numbers: every metric of a step costs 0.1 ms
NOTE_SECONDS = 2.0  # between two steps of an exhaustive sweep
_STATUS = {"interrupted": "KILLED", "failing": "FAILED"}


class Tracker(StoreFollower):
    """Logs one sweep. tally: the sweep's numbers. earlier: trials of the run that is resumed."""

    def __init__(self, uri: str, labels: Labels, tally: Tally, warn: Callable[[str], None], earlier: Sequence[Trial] = ()) -> None:
        super().__init__("MLflow", f"MLflow at {masked(uri)}", "`resume` on this folder brings it up to date", warn)
        self._uri, self._labels, self._tally = uri, labels, tally
        self._steps = [step_of(trial, labels, {}) for trial in earlier]
        self._sent = 0
        self._run: SweepRun | None = None
        self._noted, self._noted_s = 0, 0.0

    def on_trial(self, trial: Trial) -> None:
        """A step, with the sweep's numbers every now and then; the charts are those of full simulations."""
        if trial.rung:
            return
        tally = self._tally
        numbers = {} if tally.done % NOTE_TRIALS != 1 else {
            "pareto_size": float(len(tally.front)), "cache_hits": float(tally.costs.hits),
            "cache_misses": float(tally.costs.misses)}
        self._steps.append(step_of(trial, self._labels, numbers))
        if len(self._steps) - self._sent >= BATCH_TRIALS:
            self.look()

    def on_tick(self) -> None:
        """A step of the sweep's numbers where trials come in columns: too many to log one by one."""
        tally = self._tally
        if tally.in_rows > self._noted and time.monotonic() - self._noted_s > NOTE_SECONDS:
            self._noted, self._noted_s = tally.in_rows, time.monotonic()
            self._steps.append((tally.done, {
                "pareto_size": float(len(tally.front)), "hypervolume": tally.front.hypervolume(),
                "feasible_trials": float(tally.statuses["complete"]), STEP_METRIC: 1.0}))

    def copy(self, ending: Ending | None) -> None:
        if self._run is None:
            self._run = SweepRun(self._uri, self._labels)
            self._run.close_dead_runs()
        while self._sent < len(self._steps):
            batch = self._steps[self._sent: self._sent + BATCH_TRIALS]
            self._run.log_steps(batch)
            self._sent += len(batch)
        if ending is not None:
            found = ending.found
            self._run.log_children([*(t for t in found.kept if t.baseline), *(t for t in found.front if not t.baseline)])
            self._run.log_files(self._labels.folder / name for name in ARTIFACTS)
            self._run.log_summary({name: value for name, value in ending.summary.items() if isinstance(value, int | float)},
                                  {"sweeper.end": ending.why})
            self._run.end(_STATUS.get(ending.why, "FINISHED"))

    def disconnect(self) -> None:
        self._run, self._sent = None, 0


def step_of(trial: Trial, labels: Labels, extra: Mapping[str, float]) -> tuple[int, Mapping[str, float]]:
    """A trial as a step of the run: its number and metrics."""
    return trial.number, {**at_step(trial, labels.columns), "trial_seconds": trial.seconds, **extra,
                          STEP_METRIC: float(trial.status == "complete")}
