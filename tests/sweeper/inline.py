"""A pool without Ray: evaluates in the driver, and hands results back in an order of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from sweeper.judge import judge
from sweeper.space import Space
from sweeper.trial import Trial
from sweeper.worker import Task

Evaluate = Callable[[Task], Trial]


class InlinePool:
    """`size` tasks under way at most; finished ones come back shuffled by `order`."""

    def __init__(self, evaluate: Evaluate, *, size: int = 4, order: int = 0) -> None:
        self._evaluate, self._size = evaluate, size
        self._random = random.Random(order)
        self._waiting: list[Task] = []
        self.evaluated: list[int] = []

    @property
    def group(self) -> int:
        return 2

    def room(self) -> int:
        return max(0, self._size - len(self._waiting))

    def submit(self, tasks: Iterable[Task]) -> None:
        self._waiting.extend(tasks)

    def collect(self, timeout_s: float) -> list[Trial]:
        if not self._waiting:
            return []
        task = self._waiting.pop(self._random.randrange(len(self._waiting)))
        self.evaluated.append(task.number)
        return [self._evaluate(task)]


def smooth(space: Space) -> Evaluate:
    """Trials of `npu_pim` with made-up metrics: latency falls and cost rises with hardware, both with an optimum inside."""
    def evaluate(task: Task) -> Trial:
        if task.baseline:
            return Trial(task.number, {}, "complete", objectives={o.name: 1e9 for o in space.objectives},
                         baseline=task.baseline)
        p = task.parameters
        size = p["array"][0] / 64 * p["arrays_per_npu"] * p["tp"] * p["pp"]
        memory = p["hbm_stacks"] * p["tp"] * (2 if p["pim"] != "none" else 1)
        batch = p["max_num_seqs"]
        latency_s = batch / memory / 1000 + 1 / size + 0.002 * p["pp"] + (0.004 if p["dtype"] == "bf16" else 0.0)
        metrics = {"tpot_p95": latency_s, "tpot_p99": 2 * latency_s, "ttft_p99": 40 / size,
                   "output_throughput": batch / latency_s, "cost_per_hour": size ** 0.7 + memory}
        verdict = judge(space, space.flat(p), metrics)
        return Trial(task.number, dict(p), verdict.status, metrics=metrics, objectives=verdict.objectives,
                     constraints=verdict.constraints, reason=verdict.reason, design_key=space.key(p))
    return evaluate
