"""The loop of an exhaustive sweep: ranges of the enumeration out, rows of finished trials in.

The driver looks at a range, not at its points: what a point costs it is a bit in a map and a row in a table. Ranges are
handed out in order and never exceed what is left of the budget, so a sweep of N trials holds the first N legal points
whatever the number of workers, and a resumed one goes on with the points that the ledger does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sweeper.run.loop import DRAIN_SECONDS, POLL_SECONDS, End
from sweeper.space.enumeration import Enumeration
from sweeper.space.legality import broken_rule
from sweeper.space.space import Space
from sweeper.study.trial import Trial
from sweeper.workers.spans import Rows, Span
from sweeper.workers.worker import Task


class SpanPool(Protocol):
    """What the loop needs of a pool (`sweeper.workers.pool.Pool`)."""

    @property
    def span_size(self) -> int: ...

    def span_room(self) -> int: ...

    def submit(self, tasks: Sequence[Task], *, alone: bool = False) -> None: ...

    def submit_span(self, span: Span) -> None: ...

    def collect(self, timeout_s: float) -> list[Trial]: ...

    def take_rows(self) -> tuple[list[Rows], list[Span]]: ...


class Plan:
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
        """So many points came back as trials, so many without."""
        self.under_way -= trials + rejected
        self.budget -= trials


@dataclass
class SpanLoop:
    """Everything a run needs. `record` and `record_rows` take new trials, first of all; `tick` says whether to stop."""

    pool: SpanPool
    space: Space
    points: Enumeration
    plan: Plan
    record: Callable[[Trial], None]
    record_rows: Callable[[Rows], None]
    reject: Callable[[Counter[str]], None]
    tick: Callable[[], bool]


def run_spans(loop: SpanLoop, baselines: Sequence[Task]) -> End:
    """Evaluates `baselines`, then the plan's points until it ends."""
    plan = loop.plan
    loop.pool.submit(baselines)
    plan.under_way += len(baselines)
    while True:
        if loop.tick():
            _collect(loop, DRAIN_SECONDS)
            return "stopped"
        for _ in range(loop.pool.span_room()):
            span = plan.next(loop.pool.span_size)
            if span is None:
                break
            loop.pool.submit_span(span)
        if not plan.under_way:
            return "exhausted" if plan.budget else "complete"
        _collect(loop, POLL_SECONDS)


def _collect(loop: SpanLoop, timeout_s: float) -> None:
    for trial in loop.pool.collect(timeout_s):
        loop.record(trial)
        loop.plan.back(1, 0)
    finished, broken = loop.pool.take_rows()
    for rows in finished:
        loop.record_rows(rows)
        loop.reject(rows.rejected)
        loop.plan.back(len(rows), rows.rejected.total())
    for span in broken:
        _send_singly(loop, span)


def _send_singly(loop: SpanLoop, span: Span) -> None:
    """A span that killed its worker, point by point: the one that does it is found, the others are innocent."""
    tasks: list[Task] = []
    rejected: Counter[str] = Counter()
    for index in span.indices():
        point = loop.points.at(index)
        rule = broken_rule(loop.space, point)
        if rule is None:
            tasks.append(Task(span.offset + index, point))
        else:
            rejected[rule] += 1
    loop.reject(rejected)
    loop.plan.back(0, rejected.total())
    loop.pool.submit(tasks, alone=True)
