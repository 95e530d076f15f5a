"""What runs in a Ray actor: tasks in, finished trials and newly priced operators out."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from simulator.costs.cache import CacheCounters, CostCache, Snapshot
from sweeper.trial import Trial


@dataclass(frozen=True)
class Task:
    """One design to evaluate: a canonical point of the space, or the baseline of that name."""

    number: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = ""

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


@dataclass(frozen=True)
class Reply:
    """What one call brings back: trials, the operator prices it had to compute, and what the cache did for it."""

    trials: list[Trial]
    new_costs: Snapshot
    counters: CacheCounters


class NotStartedError(Exception):
    """A call reached an actor that Ray had just restarted: nothing was evaluated, send it again."""


class SimWorker:
    """The actor. It holds nothing that a restart would miss: only caches."""

    def __init__(self) -> None:
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
        import ray

        evaluator = self._evaluator
        if evaluator is None:
            raise NotStartedError
        cache = evaluator.cache
        if version != self._version:
            cache.use(*ray.get(list(costs)))
            self._version = version
        trials = [replace(run_task(evaluator, task), worker=self._name) for task in tasks]
        return Reply(trials, cache.take_new(), cache.take_counters())


def run_task(evaluator: Evaluator, task: Task) -> Trial:
    """One task to its trial; never raises for what a design can cause."""
    start_s = time.perf_counter()
    try:
        trial = evaluator.evaluate(task)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return task.failed(f"{text} (line {frames[-1].lineno} of {frames[-1].name})" if frames else text,
                           seconds=time.perf_counter() - start_s)
    return replace(trial, seconds=time.perf_counter() - start_s)
