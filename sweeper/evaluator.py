"""From a task to a finished trial: build the design, check it, simulate it, judge it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping

import numpy as np

from simulator.costs.cache import CostCache
from simulator.design import Design, design_key
from simulator.feasibility import Infeasible
from simulator.inputs.errors import InputError
from simulator.schema.workload import Workload
from simulator.serving.config import Trace
from simulator.serving.trace import load_trace
from simulator.simulate import simulate
from sweeper.judge import Verdict, check, check_design, judge
from sweeper.space import Space
from sweeper.trial import Trial
from sweeper.worker import Task

MAX_TRACES = 32  # kept per worker when designs differ in workload


class SimEvaluator:
    """Evaluates tasks of one space with the simulator. `traces`: those loaded already, by `workload_key`."""

    def __init__(self, space: Space, traces: Mapping[str, Trace]) -> None:
        self.cache = CostCache()
        self._space = space
        self._traces = dict(traces)
        self._baselines = {baseline.name: baseline.design for baseline in space.baselines}

    def evaluate(self, task: Task) -> Trial:
        """The judged trial; what needs no simulation is checked first."""
        if task.baseline:
            checked = check_design(self._space, self._baselines[task.baseline])
        else:
            checked = check(self._space, task.parameters)
        metrics: dict[str, float] = {}
        verdict = checked.verdict
        if verdict is None:
            assert checked.design is not None
            try:
                metrics = simulate(checked.design, cache=self.cache, trace=self._trace(checked.design.workload)).metrics
                verdict = judge(self._space, checked.flat, metrics)
            except Infeasible as infeasible:
                amounts = {violation.name: violation.amount for violation in infeasible.violations}
                verdict = Verdict("infeasible", {}, amounts, str(infeasible))
        return Trial(task.number, dict(task.parameters), verdict.status, metrics=metrics, objectives=verdict.objectives,
                     constraints=verdict.constraints, reason=verdict.reason, baseline=task.baseline,
                     design_key=design_key(checked.design) if checked.design is not None else "")

    def _trace(self, workload: Workload) -> Trace:
        key = workload_key(workload)
        if key not in self._traces:
            if len(self._traces) >= MAX_TRACES:
                self._traces.pop(next(iter(self._traces)))
            self._traces[key] = load_trace(workload)
        return self._traces[key]


def load_traces(space: Space) -> dict[str, Trace]:
    """The traces of the baselines and of one point of the space, loaded once by the driver for all workers.

    Raises InputError where a trace cannot be read.
    """
    workloads = [design.workload for design in (*(b.design for b in space.baselines), *_some_design(space))]
    return {workload_key(workload): load_trace(workload) for workload in workloads}


def warm(space: Space) -> None:
    """Simulates four requests, so that the engine is compiled once, here, and workers load it from numba's cache."""
    few = np.full(4, 16, dtype=np.int32)
    trace = Trace(np.arange(4, dtype=np.int64) * 1_000_000, few, few)
    for design in (*(b.design for b in space.baselines), *_some_design(space)):
        with contextlib.suppress(Infeasible):
            simulate(design, trace=trace)


def workload_key(workload: Workload) -> str:
    """Equal for workloads that mean the same trace."""
    return workload.model_dump_json(exclude={"name", "source"})


def _some_design(space: Space) -> list[Design]:
    for seed in range(20):  # the first points may be impossible combinations
        try:
            return [space.design(space.sample(random.Random(seed)))]
        except InputError:
            continue
    return []
