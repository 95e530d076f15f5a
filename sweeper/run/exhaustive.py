"""The loop of an exhaustive sweep: ranges of the enumeration out, rows of finished trials in.

The driver looks at a range, not at its points: what a point costs it is a bit in a map and a row in a table. Ranges are
handed out in order and never exceed what is left of the budget, so a sweep of N trials holds the first N legal points
whatever the number of workers, and a resumed one goes on with the points that the ledger does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sweeper.run.loop import DRAIN_SECONDS, POLL_SECONDS, End, Sink
from sweeper.space.enumeration import Enumeration
from sweeper.space.legality import broken_rule
from sweeper.space.space import Space
from sweeper.study.rows import Rows, rows_of
from sweeper.study.trial import Trial
from sweeper.workers.spans import Span
from sweeper.workers.worker import Task


class SpanWorkers(Protocol):
    """What evaluates ranges (`sweeper.workers.pool.Pool`)."""

    @property
    def span_size(self) -> int: ...

    def span_room(self) -> int: ...

    def submit(self, tasks: Iterable[Task], *, alone: bool = False) -> None: ...

    def submit_span(self, span: Span) -> None: ...

    def collect(self, timeout_s: float) -> list[Trial]: ...

    def take_rows(self) -> tuple[list[Rows], list[Span]]: ...


class Ranges:
    """Which points come next. `done` marks those that the ledger has; `budget` more trials may be made.

    The trial of point i is number `offset` + i.
    """

    def __init__(self, done: NDArray[np.bool_], offset: int, budget: int) -> None:
        self._done, self._offset, self.budget = done, offset, budget
        self._next = 0
        self.under_way = 0  # points handed out and not back

    def next(self, size: int) -> Span | None:
        """The next range with at most `size` points to evaluate; None while the budget may be used up, or at the end."""
        size = min(size, self.budget - self.under_way)
        if size < 1:
            return None
        while self._next < len(self._done):
            first, stop = self._next, min(self._next + size, len(self._done))
            self._next = stop
            marks = self._done[first:stop]
            finished = int(marks.sum())
            if finished < stop - first:
                self.under_way += stop - first - finished
                return Span(first, stop, self._offset, np.packbits(marks).tobytes() if finished else b"")
        return None

    def back(self, trials: int, rejected: int) -> None:
        """That many points came back as trials, that many without."""
        self.under_way -= trials + rejected
        self.budget -= trials


def run_spans(workers: SpanWorkers, space: Space, ranges: Ranges, sink: Sink, baselines: Sequence[Task]) -> End:
    """Evaluates `baselines`, then the points of `ranges` until they end."""
    points = Enumeration(space)
    workers.submit(baselines)
    ranges.under_way += len(baselines)
    while True:
        for _ in range(workers.span_room()):
            span = ranges.next(workers.span_size)
            if span is None:
                break
            workers.submit_span(span)
        if not ranges.under_way:
            return "exhausted" if ranges.budget else "complete"
        if _collect(workers, space, points, ranges, sink, POLL_SECONDS):
            _collect(workers, space, points, ranges, sink, DRAIN_SECONDS)
            return "stopped"


def _collect(workers: SpanWorkers, space: Space, points: Enumeration, ranges: Ranges, sink: Sink, timeout_s: float) -> bool:
    """Hands over what has finished; whether to stop."""
    trials = workers.collect(timeout_s)
    rows, broken = workers.take_rows()
    for span in broken:
        tasks, rejected = _singly(space, points, span)
        rows.append(rows_of([], [o.name for o in space.objectives], rejected, 0.0))
        workers.submit(tasks, alone=True)
    ranges.back(len(trials), 0)
    for finished in rows:
        ranges.back(len(finished), finished.rejected.total())
    return sink(trials, rows)


def _singly(space: Space, points: Enumeration, span: Span) -> tuple[list[Task], Counter[str]]:
    """A span that killed its worker, point by point: the one that does it is found, the others are innocent."""
    tasks: list[Task] = []
    rejected: Counter[str] = Counter()
    for index in span.indices():
        point = points.at(index)
        rule = broken_rule(space, point)
        if rule is None:
            tasks.append(Task(span.offset + index, point))
        else:
            rejected[rule] += 1
    return tasks, rejected
