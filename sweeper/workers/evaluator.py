"""The evaluator from a task to a finished trial: it builds the design, checks it, simulates it and judges it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from simulator.analysis.bounds import bounds, mean_bounds
from simulator.analysis.confidence import half_widths, mean_metrics
from simulator.analysis.rate_search import capacity
from simulator.design.design import Design
from simulator.design.load import load_hardware
from simulator.design.records.workload import Workload
from simulator.inputs.errors import InputError
from simulator.prepare import prepare
from simulator.pricing.cache import CostCache
from simulator.result import Infeasible
from simulator.simulate import load, serve, simulate
from simulator.workload.load import head, load_trace
from simulator.workload.replicates import replicates
from simulator.workload.trace import Trace
from sweeper.space.enumeration import Enumeration
from sweeper.space.expressions.symbols import Flat
from sweeper.space.legality import broken_rule
from sweeper.space.space import Space, Values
from sweeper.study.replication import read_samples
from sweeper.study.trial import BOUND, Trial
from sweeper.workers.proof import proved
from sweeper.workers.verdict import Checked, Verdict, check, check_design, impossible, judge
from sweeper.workers.worker import Task, run_task

MAX_TRACES = 32  # kept per worker when designs differ in workload
WARMING = 16  # designs tried for the engines that a space needs: 2 ms each


class SimEvaluator:
    """Evaluates tasks of one space with the simulator. `traces`: those loaded already, by `workload_key`.

    Making one loads the engine, so that the first trial is not the slow one.
    """

    def __init__(self, space: Space, traces: Mapping[str, Trace]) -> None:
        self.cache = CostCache()
        self._space = space
        self.objectives = [objective.name for objective in space.objectives]
        self._traces = dict(traces)
        self._last: tuple[Workload | None, Any] = (None, None)  # the workload before and its trace
        self._replicated: dict[str, list[Trace]] = {}  # by `workload_key`
        self._baselines = {baseline.name: baseline.design for baseline in space.baselines}
        load()

    @cached_property
    def _enumeration(self) -> Enumeration:
        return Enumeration(self._space)

    def point(self, index: int) -> Values:
        """The canonical point of that index in the space's enumeration."""
        return self._enumeration.at(index)

    def broken_rule(self, point: Mapping[str, Any]) -> str | None:
        """The constraint that the point misses by its settings alone."""
        return broken_rule(self._space, point)

    def evaluate(self, task: Task) -> Trial:
        """The judged trial; what needs no simulation is checked first."""
        if task.baseline:
            checked = check_design(self._space, self._baselines[task.baseline])
        else:
            checked = check(self._space, task.parameters)
        return self._trial(checked, task)

    def of_design(self, design: Design, like: Trial) -> Trial:
        """The judged trial of any design, with the number and name of the trial that it is a variant of. Raises nothing."""
        return self._trial(check_design(self._space, design), Task(like.number, {}, baseline=like.baseline))

    def _trial(self, checked: Checked, task: Task) -> Trial:
        """Simulates and judges what is still open."""
        runs: list[dict[str, float]] = [{}]
        rung = ""
        verdict = checked.verdict
        if verdict is None:
            assert checked.design is not None
            try:
                rung, verdict, runs = self._judged(checked.design, checked.flat, task)
            except Infeasible as infeasible:
                verdict = impossible(infeasible.violations)
        several = len(runs) > 1
        return Trial(task.number, dict(task.parameters), verdict.status, metrics=mean_metrics(runs),
                     objectives=verdict.objectives, constraints=verdict.constraints, reason=verdict.reason,
                     baseline=task.baseline, design_key=checked.design_key, rung=rung,
                     half_widths=half_widths(runs) if several else {},
                     samples=read_samples(self._space, runs) if several else {},
                     replicates=verdict.replicates, unsure=verdict.unsure)

    def _judged(self, design: Design, flat: Flat, task: Task) -> tuple[str, Verdict, list[dict[str, float]]]:
        """(rung, verdict, metrics by replicate) of the part of the ladder that the task asks for. Raises Infeasible."""
        priced = prepare(design, self.cache)
        traces = self._traces_of(design.workload)
        if task.rivals is not None:
            found_bounds = mean_bounds([bounds(design, priced, trace, self._space.metrics_read) for trace in traces])
            verdict = proved(self._space, flat, found_bounds, task.rivals)
            if verdict is not None:
                return BOUND, verdict, [{}]
        runs = [serve(design, priced, trace).metrics for trace in traces]
        target = self._space.capacity
        if target is not None and len(runs) > 1:
            each = capacity(design, target, priced=priced, drawn=traces).seeds
            runs = [{**run, **at_capacity} for run, at_capacity in zip(runs, each, strict=True)]
        elif target is not None:
            runs[0] |= capacity(design, target, priced=priced, trace=traces[0]).metrics
        samples = read_samples(self._space, runs) if len(runs) > 1 else None
        return "", judge(self._space, flat, mean_metrics(runs), samples), runs

    def _traces_of(self, workload: Workload) -> list[Trace]:
        """The workload's replicates, the same for every design that serves it: common random numbers."""
        trace = self._trace(workload)
        if workload.replicates is None:
            return [trace]
        key = workload_key(workload)
        if key not in self._replicated:
            if len(self._replicated) >= MAX_TRACES:
                self._replicated.pop(next(iter(self._replicated)))
            self._replicated[key] = replicates(workload, trace, workload.replicates)
        return self._replicated[key]

    def _trace(self, workload: Workload) -> Trace:
        if workload is self._last[0]:  # designs share the record where they share the workload
            return self._last[1]
        key = workload_key(workload)
        if key not in self._traces:
            if len(self._traces) >= MAX_TRACES:
                self._traces.pop(next(iter(self._traces)))
            self._traces[key] = load_trace(workload)
        self._last = (workload, self._traces[key])
        return self._traces[key]


def load_traces(space: Space) -> dict[str, Trace]:
    """The traces of the baselines and of one point of the space, loaded once by the driver for all workers.

    Raises InputError where a trace cannot be read, or not be replicated where replicates are asked for.
    """
    workloads = [design.workload for design in (*(b.design for b in space.baselines), *_some_designs(space, 1))]
    found = {workload_key(workload): load_trace(workload) for workload in workloads}
    for workload in workloads:
        replicates(workload, found[workload_key(workload)], workload.replicates or 1)
    return found


def plugged(space: Space) -> bool:
    """Whether another package's device prices designs (as far as one can see): it may hang or crash, in workers only."""
    return any(design.hardware.device is not None for design in (*(b.design for b in space.baselines), *_some_designs(space, 1)))


def warm(space: Space, traces: Mapping[str, Trace]) -> None:
    """Simulates the first requests of the workload with some designs, so that the engines which the space needs (pipelines,
    prefix caching, clients, PIM channels each have their own) are compiled once, here, and workers load them from numba's
    cache.

    What goes wrong is left to the trials to say. Another package's device is not asked: its place takes a built-in one.
    """
    for design in (*(b.design for b in space.baselines), *_some_designs(space, WARMING)):
        with contextlib.suppress(Exception):
            if design.hardware.device is not None:
                design = design.model_copy(update={"hardware": load_hardware("h100-sxm", {})})
            trace = traces.get(workload_key(design.workload)) or next(iter(traces.values()))
            simulate(design, trace=head(trace, 8))


def warm_evaluator(space: Space) -> SimEvaluator:
    """One for this process, whose engines are compiled."""
    traces = load_traces(space)
    warm(space, traces)
    return SimEvaluator(space, traces)


def measured_seconds(space: Space, trials: int = 12) -> float:
    """Wall time of one evaluation in this process, the mean over random points after a few to warm up."""
    evaluator, rng = warm_evaluator(space), random.Random(0)
    seconds = [run_task(evaluator, Task(i, space.sample(rng))).seconds for i in range(2 * trials)]
    return sum(seconds[trials:]) / trials


def workload_key(workload: Workload) -> str:
    """Equal for workloads that mean the same trace."""
    return workload.model_dump_json(exclude={"name", "source"})


def _some_designs(space: Space, at_most: int) -> list[Design]:
    found: list[Design] = []
    for seed in range(at_most + 20):  # some points may be impossible combinations
        if len(found) == at_most:
            break
        with contextlib.suppress(InputError):
            found.append(space.design(space.sample(random.Random(seed))))
    return found
