"""From a point of the space to a finished trial: build the design, simulate it, judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.costs.cache import CostCache
from simulator.design import Design, design_key
from simulator.feasibility import Infeasible
from simulator.inputs.errors import InputError
from simulator.schema.workload import Workload
from simulator.serving.config import Trace
from simulator.serving.trace import load_trace
from simulator.simulate import simulate
from sweeper.expressions import UndefinedError
from sweeper.space import Space
from sweeper.symbols import flatten
from sweeper.trial import Trial
from sweeper.worker import Task

MAX_TRACES = 32  # kept per worker when designs differ in workload


class SimEvaluator:
    """Evaluates tasks of one space with the simulator. `traces`: loaded ones, by `workload_key`."""

    def __init__(self, space: Space, traces: Mapping[str, Trace]) -> None:
        self.cache = CostCache()
        self._space = space
        self._traces = dict(traces)
        self._baselines = {baseline.name: baseline.design for baseline in space.baselines}

    def evaluate(self, task: Task) -> Trial:
        """The judged trial. A design that cannot exist or serve is infeasible, with the rule's name."""
        parameters = dict(task.parameters)
        try:
            design = self._baselines[task.baseline] if task.baseline else self._space.design(parameters)
        except InputError as error:
            return Trial(task.number, parameters, "infeasible", constraints={"design": 1.0}, reason=str(error))
        key = design_key(design)
        try:
            result = simulate(design, cache=self.cache, trace=self._trace(design.workload))
        except Infeasible as infeasible:
            return Trial(task.number, parameters, "infeasible", reason=str(infeasible), design_key=key,
                         constraints={v.name: v.amount for v in infeasible.violations}, baseline=task.baseline)
        flat = flatten(design) if task.baseline else self._space.flat(parameters)
        verdict = judge(self._space, {**result.metrics, **flat})
        return Trial(task.number, parameters, verdict.status, metrics=result.metrics, objectives=verdict.objectives,
                     constraints=verdict.constraints, reason=verdict.reason, design_key=key, baseline=task.baseline)

    def _trace(self, workload: Workload) -> Trace:
        key = workload_key(workload)
        if key not in self._traces:
            if len(self._traces) >= MAX_TRACES:
                self._traces.pop(next(iter(self._traces)))
            self._traces[key] = load_trace(workload)
        return self._traces[key]


@dataclass(frozen=True)
class Verdict:
    """What the space's objectives and constraints say about a design's numbers."""

    status: Any  # sweeper.trial.Status
    objectives: dict[str, float]
    constraints: dict[str, float]
    reason: str


def judge(space: Space, values: Mapping[str, Any]) -> Verdict:
    """`values`: metrics and design keys. failed where an expression has no value for this design."""
    constraints: dict[str, float] = {}
    objectives: dict[str, float] = {}
    try:
        for constraint in space.constraints:
            constraints[constraint.name] = constraint.expression.violation(values)
        for objective in space.objectives:
            objectives[objective.name] = objective.value(values)
    except UndefinedError as error:
        return Verdict("failed", objectives, constraints, str(error))
    missed = [f"{name} is missed by {amount:.3g} (relative)" for name, amount in constraints.items() if amount > 0]
    return Verdict("infeasible" if missed else "complete", objectives, constraints, "; ".join(missed))


def static_violations(space: Space, parameters: Mapping[str, Any]) -> dict[str, float]:
    """Constraints that the point misses by its settings alone, by how much; {} where a simulation must tell."""
    missed: dict[str, float] = {}
    static = space.static_constraints
    flat = space.flat(parameters) if static else {}
    for constraint in static:
        try:
            amount = constraint.expression.violation(flat)
        except UndefinedError:
            continue  # left to the worker, which knows the built design
        if amount > 0:
            missed[constraint.name] = amount
    return missed


def workload_key(workload: Workload) -> str:
    """Equal for workloads that mean the same trace."""
    return workload.model_dump_json(exclude={"name", "source"})


def base_designs(space: Space) -> list[Design]:
    """The designs whose traces the driver loads once for all workers: baselines, and one point of the space."""
    import random

    designs = [baseline.design for baseline in space.baselines]
    for seed in range(20):  # the first points may be impossible combinations
        try:
            return [*designs, space.design(space.sample(random.Random(seed)))]
        except InputError:
            continue
    return designs
