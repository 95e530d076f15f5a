"""The study's folder as a sweep leaves it: operator prices now and then, results, summary and report at the end."""

from __future__ import annotations

import json
import time
from pathlib import Path

from simulator.pricing import cache
from simulator.pricing.cache import Snapshot
from sweeper.run.progress import Progress
from sweeper.sinks.follower import Follower
from sweeper.space.space import Space
from sweeper.study.ending import Ending
from sweeper.study.folder import COSTS_FILE, SUMMARY_FILE
from sweeper.workers.shared_costs import SharedCosts

SAVE_COSTS_SECONDS = 60.0
REPORT_SHARE = 0.05  # of the sweep's time that its report may add; `python -m sweeper report` takes more


class StudyFiles(Follower):
    """Writes what stands next to the ledger. `costs` is set once there are workers."""

    def __init__(self, folder: Path, space: Space, progress: Progress) -> None:
        self._folder, self._space, self._progress = folder, space, progress
        self.costs: SharedCosts | None = None
        self._saved_s = time.monotonic()

    def on_tick(self) -> None:
        """Saves operator prices every minute."""
        if self.costs is not None and time.monotonic() - self._saved_s > SAVE_COSTS_SECONDS:
            self.save_costs(self.costs.snapshot())
            self._saved_s = time.monotonic()

    def save_costs(self, costs: Snapshot) -> None:
        """A convenience for later runs: without it they price again, so a failure stops nothing."""
        try:
            cache.save(costs, self._folder / COSTS_FILE)
        except OSError as error:
            self._progress.warn(f"{self._folder / COSTS_FILE}: cannot be written: {error.strerror or error}; the sweep goes on")

    def close(self, ending: Ending) -> None:
        """Raises OSError where the disk is full."""
        from sweeper.study.results import write_results

        write_results(self._folder, self._space, ending.found)
        path = self._folder / SUMMARY_FILE
        if ending.summary["trials_this_run"] or not path.exists():  # a resume that finds nothing to do keeps the last one
            path.write_text(json.dumps(ending.summary, indent=2) + "\n", encoding="utf-8")
        self._write_report(ending)

    def _write_report(self, ending: Ending) -> None:
        """A failure other than the disk's is a line, not the end of a finished sweep."""
        try:
            from sweeper.report.page import BUDGET_S, write_report

            write_report(self._folder, self._space, ending.found, min(BUDGET_S, REPORT_SHARE * ending.summary["seconds"]))
        except OSError:
            raise
        except Exception as error:
            self._progress.say(f"the report could not be written ({type(error).__name__}: {error}); "
                               f"try `python -m sweeper report {self._folder}`")
