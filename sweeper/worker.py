"""What runs in a Ray actor: designs in, metrics and newly priced operators out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from simulator.costs.cache import CacheCounters, CostCache, Snapshot
from simulator.inputs.errors import InputError

Status = Literal["complete", "impossible", "failed"]


@dataclass(frozen=True)
class Task:
    """One design to simulate: the trial's number and its parameter values."""

    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a task. complete: `metrics`; impossible: the design cannot exist, `reason` names the rule;
    failed: the simulator broke, `reason` is its error."""

    number: int
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0
    attempts: int = 1


class Evaluator(Protocol):
    """The single-point evaluator as the sweep sees it. One per actor; deterministic in `values`."""

    cache: CostCache

    def evaluate(self, values: Mapping[str, Any]) -> Mapping[str, float]:
        """The metrics of a design. Raises InputError where the design cannot exist."""
        ...


@dataclass(frozen=True)
class Reply:
    """What one call brings back: outcomes, the operator prices it had to compute, and what the cache did for it."""

    outcomes: list[Outcome]
    new_costs: Snapshot
    counters: CacheCounters


class SimWorker:
    """The actor. It holds nothing that a restart would miss: only caches."""

    def __init__(self, make_evaluator: Callable[[], Evaluator]) -> None:
        self._evaluator = make_evaluator()
        self._version = -1

    def ready(self) -> bool:
        """Answers once the actor is up."""
        return True

    def evaluate(self, tasks: Sequence[Task], version: int, costs: Snapshot) -> Reply:
        """Simulates `tasks` in order; an exception fails its own task only. `costs` is looked at when `version` is new."""
        cache = self._evaluator.cache
        if version != self._version:
            cache.use(costs)
            self._version = version
        outcomes = [run_task(self._evaluator, task) for task in tasks]
        return Reply(outcomes, cache.take_new(), cache.take_counters())


def run_task(evaluator: Evaluator, task: Task) -> Outcome:
    """One task to its outcome; never raises for what a design can cause."""
    start = time.perf_counter()
    try:
        metrics = evaluator.evaluate(task.values)
    except InputError as error:
        return Outcome(task.number, "impossible", reason=str(error), seconds=time.perf_counter() - start)
    except Exception as error:  # a broken simulator fails the trial, not the sweep
        frames = traceback.extract_tb(error.__traceback__)
        text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        reason = f"{text} (line {frames[-1].lineno} of {frames[-1].name})" if frames else text
        return Outcome(task.number, "failed", reason=reason, seconds=time.perf_counter() - start)
    return Outcome(task.number, "complete", metrics=metrics, seconds=time.perf_counter() - start)
