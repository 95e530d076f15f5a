"""A pool without Ray: evaluates in the driver, and hands results back in an order of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sweeper.run.loop import Sink
from sweeper.space.file import load_space
from sweeper.space.space import Space
from sweeper.study.rows import Rows
from sweeper.study.trial import Trial, from_json_line
from sweeper.workers.verdict import judge
from sweeper.workers.worker import Task

MACHINE = """
name: machine
design: npu-chat
parameters:
  array: {sets: [hardware.npu.array], ordinal: [[64, 64], [128, 128], [256, 256]]}
  arrays_per_npu: {sets: [hardware.npu.arrays], ordinal: [2, 4, 8, 16]}
  hbm_stacks: {sets: [hardware.memory.stacks], ordinal: [2, 4, 6, 8]}
  pim: {sets: [hardware.pim.placement], choices: [none, local, pooled]}
  pim_stacks_per_npu: {sets: [hardware.pim.stacks_per_npu], ordinal: [1, 2, 4, 8], when: pim != 'none'}
  tp: {sets: [parallelism.tensor], ordinal: [1, 2, 4, 8]}
  pp: {sets: [parallelism.pipeline], ordinal: [1, 2, 4]}
  max_num_seqs: {sets: [serving.max_num_seqs], ordinal: [32, 64, 128, 256]}
  dtype: {sets: [precision.weights, precision.activations], choices: [bf16, fp8]}
constraints: {one_node: tp * pp <= 8, ttft_slo: ttft_p99 <= 2 s, tpot_slo: tpot_p99 <= 100 ms}
objectives: [{minimize: tpot_p95, unit: ms}, {maximize: output_throughput}, {minimize: cost_per_hour}]
baselines: {npu: {}, pim: {design: npu-pim-chat}}
"""

Evaluate = Callable[[Task], Trial]


class InlinePool:
    """`size` tasks under way at most; finished ones come back shuffled by `order`."""

    def __init__(self, evaluate: Evaluate, *, size: int = 4, order: int = 0) -> None:
        self._evaluate, self._size = evaluate, size
        self._random = random.Random(order)
        self._waiting: list[Task] = []
        self.evaluated: list[int] = []

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


def into(trials: list[Trial], stop_after: int | None = None) -> Sink:
    """A sink that appends to `trials`, and says stop once there are `stop_after`."""
    def take(finished: Sequence[Trial], rows: Sequence[Rows] = ()) -> bool:
        trials.extend(finished)
        trials.extend(from_json_line(line.decode()) for found in rows for line in found.lines.splitlines())
        return stop_after is not None and len(trials) >= stop_after
    return take


def machine(folder: Path) -> Space:
    """A space of 41,472 points with a conditional parameter, a static constraint and two baselines."""
    (folder / "machine.yaml").write_text(MACHINE)
    return load_space(folder / "machine.yaml")


def smooth(space: Space) -> Evaluate:
    """Trials of `machine` with made-up metrics: latency falls and cost rises with hardware, both with an optimum inside."""
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
