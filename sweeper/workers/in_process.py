"""The pool without Ray (`--workers 0`): designs are evaluated in the driver itself, one after the other.

For small studies and for machines where no cluster may run: nothing is started, nothing listens. The trials are those of any
other pool. What only another process can do is not done: a design that hangs or kills its process takes the sweep with it
(`resume` goes on).
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterable

from simulator.pricing.cache import Snapshot
from sweeper.study.rows import Rows
from sweeper.study.trial import Trial
from sweeper.workers.shared_costs import SharedCosts
from sweeper.workers.spans import Span
from sweeper.workers.worker import Reply, SpanEvaluator, Task, span_reply, tasks_reply

SPAN = 64  # points between two looks at the screen, the clock and the ledger


class InProcess:
    """What `sweeper.workers.pool.Pool` is to a loop: a task at a time, when `collect` is called."""

    workers = 1  # designs at a time

    def __init__(self, evaluator: SpanEvaluator, costs: Snapshot) -> None:
        self.costs = SharedCosts(costs, lambda _: None)  # gathered, to be saved; nobody else is to see them
        self.cpu_s = 0.0
        self.span_size = SPAN
        self._evaluator = evaluator
        evaluator.cache.use(costs)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._tasks: deque[Task] = deque()
        self._spans: deque[Span] = deque()
        self._rows: list[Rows] = []

    def room(self) -> int:
        """Room for one task: a search knows everything before it proposes."""
        return 0 if self._tasks else 1

    def span_room(self) -> int:
        return 0 if self._spans else 1

    def submit(self, tasks: Iterable[Task], *, alone: bool = False) -> None:
        """Queues tasks; each comes back from `collect` exactly once."""
        self._tasks.extend(tasks)

    def submit_span(self, span: Span) -> None:
        """Queues a span; `take_rows` has its trials once `collect` saw it."""
        self._spans.append(span)

    def collect(self, timeout_s: float) -> list[Trial]:
        """Evaluates the next task, or else the next span."""
        if self._tasks:
            return self._taken(tasks_reply(self._evaluator, [self._tasks.popleft()], self._name)).trials
        if self._spans:
            reply = self._taken(span_reply(self._evaluator, self._spans.popleft(), self._name))
            self._rows += [reply.rows] if reply.rows is not None else []
        return []

    def take_rows(self) -> tuple[list[Rows], list[Span]]:
        """Trials of finished spans, and no broken ones."""
        taken, self._rows = self._rows, []
        return taken, []

    def close(self) -> None:
        """There is nothing to end."""

    def _taken(self, reply: Reply) -> Reply:
        self.cpu_s += reply.cpu_s
        self.costs.add(reply.new_costs, reply.counters, len(reply.trials if reply.rows is None else reply.rows))
        return reply
