"""Evaluators that misbehave on demand, for tests of the machinery around the simulator."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simulator.pricing.cache import CostCache
from sweeper.study.trial import Trial
from sweeper.workers.worker import Task


class FakeEvaluator:
    """metrics {"y": 2 x}; each distinct `key` is one priced operator. `do` makes it misbehave. `needs`: a module that must
    be imported already."""

    def __init__(self, marks: Path | None = None, needs: str = "os") -> None:
        assert needs in sys.modules
        self.cache = CostCache()
        self._marks = marks

    def evaluate(self, task: Task) -> Trial:
        values = task.parameters
        self._mark(values)
        match values.get("do"):
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill once":
                if self._count(values) == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(600)
            case "exit":
                raise SystemExit(3)
            case "raise":
                raise ValueError("a bug")
        time.sleep(values.get("seconds", 0.0))
        cost = self.cache.get(values.get("key", 1), lambda: np.ones(3))
        y = 2.0 * values["x"] + float(cost.sum()) - 3.0
        return Trial(task.number, dict(values), "complete", metrics={"y": y}, objectives={"y": y})

    def _mark(self, values: Mapping[str, Any]) -> None:
        if self._marks:
            with (self._marks / str(values["x"])).open("a") as file:
                file.write("started\n")

    def _count(self, values: Mapping[str, Any]) -> int:
        assert self._marks
        return len((self._marks / str(values["x"])).read_text().splitlines())


def maker(marks: Path | None = None) -> Callable[[], FakeEvaluator]:
    return lambda: FakeEvaluator(marks)


def task(number: int, **values: Any) -> Task:
    return Task(number, {"x": number, **values})
