"""The Ray actor: tasks in, finished trials and newly priced operators out."""

from __future__ import annotations

import importlib
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

from simulator.pricing.cache import CacheCounters, CostCache, Snapshot
from sweeper.study.rows import Rows, rows_of
from sweeper.study.trial import Trial
from sweeper.workers.proof import Rival
from sweeper.workers.spans import Span


@dataclass(frozen=True)
class Task:
    """One design to evaluate: a canonical point of the space, or the baseline of that name."""

    number: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = ""
    rivals: tuple[Rival, ...] | None = None  # designs that may prove this one dominated; None: nothing is to be proved

    def failed(self, reason: str, *, seconds: float = 0.0, attempt: int = 1) -> Trial:
        """The trial this task becomes when there is no result."""
        return Trial(self.number, dict(self.parameters), "failed", reason=reason, seconds=seconds, attempt=attempt,
                     baseline=self.baseline)


class Evaluator(Protocol):
    """The single-point evaluator as the sweep sees it. One per actor; deterministic in the task."""

    cache: CostCache

    def evaluate(self, task: Task) -> Trial:
        """The finished trial. May raise: that fails the trial, not the worker."""
        ...


class SpanEvaluator(Evaluator, Protocol):
    """An evaluator that also knows the space's enumeration."""

    @property
    def objectives(self) -> Sequence[str]:
        """Names, in order."""
        ...

    def point(self, index: int) -> Mapping[str, Any]:
        """The canonical point of that index."""
        ...

    def broken_rule(self, point: Mapping[str, Any]) -> str | None:
        """The constraint that the point misses as written; None where it must be evaluated."""
        ...


@dataclass(frozen=True)
class Reply:
    """What one call brings back: trials, the operator prices it had to compute, and what the cache did for it."""

    trials: list[Trial]
    new_costs: Snapshot
    counters: CacheCounters
    rows: Rows | None = None  # the trials of a span
    cpu_s: float = 0.0  # of the worker's process for this call


class NotStartedError(Exception):
    """A call reached an actor that Ray had just restarted: nothing was evaluated, send it again."""


class SimWorker:
    """The actor. It holds nothing that a restart would miss: only caches.

    modules: what it imports while it boots, so that `start` finds them there.
    """

    def __init__(self, modules: Sequence[str] = ()) -> None:
        for module in modules:
            importlib.import_module(module)
        self._evaluator: Evaluator | None = None
        self._version = -1
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def start(self, make_evaluator: Callable[[], Evaluator]) -> bool:
        """Makes the actor ready; the first call of every incarnation, answered once it is up."""
        if self._evaluator is None:
            self._evaluator = make_evaluator()
        return True

    def evaluate(self, tasks: Sequence[Task], version: int, costs: Sequence[Any]) -> Reply:
        """Evaluates `tasks` in order; an exception fails its own task only.

        costs: Ray references of the shared snapshots, fetched when `version` is new.
        """
        return tasks_reply(self._ready(version, costs), tasks, self._name)

    def evaluate_span(self, span: Span, version: int, costs: Sequence[Any]) -> Reply:
        """As `evaluate`, for points given by index; those illegal as written are counted and left out."""
        return span_reply(cast("SpanEvaluator", self._ready(version, costs)), span, self._name)

    def _ready(self, version: int, costs: Sequence[Any]) -> Evaluator:
        import ray
        from ray.exceptions import RayError

        if self._evaluator is None:
            raise NotStartedError
        if version != self._version:
            with suppress(RayError):  # a full object store: what cannot be fetched is priced here
                self._evaluator.cache.use(*ray.get(list(costs)))
            self._version = version
        return self._evaluator


def tasks_reply(evaluator: Evaluator, tasks: Sequence[Task], name: str) -> Reply:
    """Tasks evaluated in order. name: of the worker."""
    start_cpu_s = time.process_time()
    trials = [replace(run_task(evaluator, task), worker=name) for task in tasks]
    return Reply(trials, evaluator.cache.take_new(), evaluator.cache.take_counters(), cpu_s=time.process_time() - start_cpu_s)


def span_reply(evaluator: SpanEvaluator, span: Span, name: str) -> Reply:
    """As `tasks_reply`, for points given by index; those illegal as written are counted and left out."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    rejected: Counter[str] = Counter()
    trials: list[Trial] = []
    for index in span.indices():
        point = evaluator.point(index)
        rule = evaluator.broken_rule(point)
        if rule is None:
            trials.append(replace(run_task(evaluator, Task(span.offset + index, point)), worker=name))
        else:
            rejected[rule] += 1
    rows = rows_of(trials, evaluator.objectives, rejected, time.perf_counter() - start_s)
    return Reply([], evaluator.cache.take_new(), evaluator.cache.take_counters(), rows, time.process_time() - start_cpu_s)


def run_task(evaluator: Evaluator, task: Task) -> Trial:
    """One task to its trial; never raises for what a design can cause."""
    start_s = time.perf_counter()
    try:
        trial = evaluator.evaluate(task)
    except (Exception, SystemExit) as error:  # a plug-in's sys.exit() is its design's failure, not the worker's end
        frames = traceback.extract_tb(error.__traceback__)
        text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return task.failed(f"{text} (line {frames[-1].lineno} of {frames[-1].name})" if frames else text,
                           seconds=time.perf_counter() - start_s)
    return replace(trial, seconds=time.perf_counter() - start_s)
