"""A driver that starts at once, to be killed.

Starts or resumes a study of made-up metrics, in step, with everything real but Ray, MLflow and the simulator.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from simulator.pricing.cache import CacheCounters, Snapshot, empty
from sweeper.run import sweep as study
from sweeper.run.progress import Progress
from sweeper.run.sweep import Sweep
from sweeper.study import folder as study_folder
from sweeper.study.settings import SweepSettings, settings_of
from sweeper.study.trial import Trial
from sweeper.workers.spans import Rows, Span
from sweeper.workers.worker import Task
from tests.sweeper.inline import InlinePool, machine, smooth
from tests.sweeper.run.test_exhaustive import InlineSpans


class Silent:
    """No tracking."""

    def __getattr__(self, name: str) -> object:
        return lambda *_args: None


class FastSweep(Sweep):
    """A sweep over a pool in this process."""

    pause_s = 0.0

    def _evaluate(self, costs: Snapshot, address: str | None, elastic: bool) -> Snapshot:
        evaluate = smooth(self._space)

        def slowly(task: Task) -> Trial:
            time.sleep(self.pause_s)
            return evaluate(task)

        self._work(Spans(self._space, size=40, order=1) if self._exhaustive else Tasks(slowly, order=1))
        return costs


class Costs:
    """Counters that stay at nothing."""

    counters = CacheCounters()


class Tasks(InlinePool):
    costs, cpu_s, workers = Costs(), 0.0, 1


class Spans(InlineSpans):
    costs, cpu_s, workers = Costs(), 0.0, 1

    def take_rows(self) -> tuple[list[Rows], list[Span]]:
        time.sleep(40 * FastSweep.pause_s)
        return super().take_rows()


def main(place: Path, sampler: str, trials: int, pause_s: float) -> None:
    """Starts the study, or resumes it where it is there."""
    if (place / "trials.jsonl").exists() and (place / "trials.jsonl").stat().st_size:
        space, book = study_folder.reopen(place)
        settings = settings_of(book.header)
    else:
        place.mkdir(parents=True, exist_ok=True)
        space = machine(place)
        settings = SweepSettings(trials, 2, 3, sampler, deterministic=True)
        book = study_folder.create(place, space, settings)
    FastSweep.pause_s = pause_s
    study.write_report = lambda *_: None  # type: ignore[assignment]
    with Progress(Console(stderr=True), quiet=True) as progress:
        sweep = FastSweep(place, space, book, settings, progress)
        sweep._tracker = Silent()  # type: ignore[assignment]
        sweep.run(address=None, costs=empty())
    book.close()
