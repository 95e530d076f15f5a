"""The numbers of a running sweep: how many trials of which kind, the front, and failures in a row."""

from __future__ import annotations

from collections import Counter

import numpy as np

from simulator.pricing.cache import CacheCounters
from sweeper.space.space import Space
from sweeper.study.front import LiveFront
from sweeper.study.rows import COMPLETE, FAILED, Rows
from sweeper.study.trial import STATUSES, Status, Trial

# Failed designs in a row before the sweep stops, since something is wrong with all of them: as many as succeeded before,
# within these bounds. A region of a space that a device model cannot price is passed over, a broken machine is not.
MAX_FAILURES, MOST_FAILURES = 5, 1000


class Tally:
    """Counts final trials, those of earlier runs of the study included."""

    def __init__(self, space: Space) -> None:
        self.front = LiveFront(space.objectives)
        self.statuses: Counter[Status] = Counter()
        self.rungs: Counter[str] = Counter()  # designs that ended below the full simulation, by rung
        self.rejected: Counter[str] = Counter()  # points illegal as written, by the constraint they miss
        self.in_rows = 0  # trials that came in columns
        self.failure = ""  # why the last trial failed
        self.costs = CacheCounters()  # of the operator-cost cache, all workers together
        self._failures = 0  # failed trials in a row, by now

    @property
    def done(self) -> int:
        """Designs that count as trials: those that did not end on a lower rung of the ladder."""
        return self.statuses.total() - self.rungs.total()

    @property
    def failing(self) -> bool:
        """Whether enough designs in a row failed for the sweep to stop."""
        succeeded = self.statuses.total() - self.statuses["failed"]
        return self._failures >= min(max(MAX_FAILURES, succeeded), MOST_FAILURES)

    def earlier(self, trial: Trial) -> None:
        """Counts a trial of an earlier run."""
        self.statuses[trial.status] += 1
        if trial.rung:
            self.rungs[trial.rung] += 1
        self.front.add(trial)

    def add(self, trial: Trial) -> None:
        """Counts a trial of this run."""
        self.earlier(trial)
        self._failures = self._failures + 1 if trial.status == "failed" else 0
        self.failure = trial.reason

    def add_rows(self, rows: Rows) -> None:
        """Counts trials of this run, given in columns."""
        for status, count in zip(STATUSES, np.bincount(rows.statuses, minlength=len(STATUSES)).tolist(), strict=True):
            self.statuses[status] += count
        complete = np.flatnonzero(rows.statuses == COMPLETE)
        self.front.add_rows(rows.objectives[complete], [rows.design_keys[i] for i in complete])
        succeeded = np.flatnonzero(rows.statuses != FAILED)
        self._failures = len(rows) - 1 - int(succeeded[-1]) if len(succeeded) else self._failures + len(rows)
        self.failure = rows.reason or self.failure
        self.rejected += rows.rejected
        self.in_rows += len(rows)
