"""A driver that starts at once, to be killed.

Starts or resumes a study of made-up metrics, in step, with everything real but Ray, MLflow and the simulator.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from simulator.pricing.cache import CacheCounters, Snapshot, empty
from sweeper.report import page
from sweeper.run.progress import Progress
from sweeper.run.sweep import Sweep
from sweeper.sinks.mlflow_follower import Tracker
from sweeper.space.space import Space
from sweeper.study import folder as study_folder
from sweeper.study.rows import Rows
from sweeper.study.settings import SweepSettings, settings_of
from sweeper.study.trial import Trial
from sweeper.workers.spans import Span
from sweeper.workers.worker import Task
from tests.sweeper.inline import InlinePool, machine, smooth
from tests.sweeper.run.test_exhaustive import InlineSpans


class Costs:
    """Counters that stay at nothing."""

    counters = CacheCounters()

    def snapshot(self) -> Snapshot:
        return empty()


class Tasks(InlinePool):
    costs, cpu_s, workers = Costs(), 0.0, 1


class Spans(InlineSpans):
    costs, cpu_s, workers, pause_s = Costs(), 0.0, 1, 0.0

    def take_rows(self) -> tuple[list[Rows], list[Span]]:
        time.sleep(40 * self.pause_s)
        return super().take_rows()


@contextmanager
def workers(space: Space, *, exhaustive: bool, pause_s: float = 0.0) -> Iterator[Any]:
    """A pool in this process, in the place of Ray's."""
    evaluate = smooth(space)

    def slowly(task: Task) -> Trial:
        time.sleep(pause_s)
        return evaluate(task)

    if not exhaustive:
        yield Tasks(slowly, order=1)
        return
    spans = Spans(space, size=40, order=1)
    spans.pause_s = pause_s
    yield spans


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
    page.write_report = lambda *_: None  # type: ignore[assignment, return-value]
    with Progress(Console(stderr=True), quiet=True) as progress:
        sweep = Sweep(place, space, book, settings, progress)
        sweep.followers = [follower for follower in sweep.followers if not isinstance(follower, Tracker)]
        sweep.run(lambda: workers(space, exhaustive=settings.exhaustive, pause_s=pause_s), empty())
    book.close()
