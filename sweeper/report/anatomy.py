"""The anatomy of a design in the report: where its time goes, from a second simulation with its breakdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.design.design import Design
from simulator.engine.result import StepLog
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.result import Infeasible, Replica, Result
from simulator.simulate import simulate
from sweeper.report.simulations import Budget
from sweeper.space.space import Space
from sweeper.study.results import trial_design
from sweeper.study.trial import Trial

BINS = 300  # of a timeline


@dataclass(frozen=True)
class Timeline:
    """The highest values within each of BINS equal parts of the run, from its first arrival to its last step."""

    end_s: float
    running: NDArray[np.float64]  # requests in the batch, all replicas together
    waiting: NDArray[np.float64]  # requests in the queue, all replicas together
    kv_use: NDArray[np.float64]  # share of KV blocks in use, of the fullest replica


@dataclass(frozen=True)
class Anatomy:
    """A design's time. Shares are of the wall time of one rank, from first arrival to last step, mean over pipeline stages
    and replicas; what overlaps counts twice, so they may add up to more than 1."""

    number: int  # of the trial
    operators: list[tuple[str, str, dict[str, float]]]  # name, device (device | pim | link | host), share by bound
    idle: float  # what is left of 1
    wall_s: float
    timeline: Timeline | None


def anatomies(space: Space, trials: Sequence[Trial], with_timeline: Sequence[Trial], budget: Budget) -> list[Anatomy]:
    """Of as many of `trials`, in order, as the budget allows."""
    cache = CostCache()
    drawn = {trial.number for trial in with_timeline}
    found = []
    for trial in trials:
        if not budget.allows(1):
            break
        try:
            design = trial_design(space, trial)
            result = simulate(design, cache=cache, log=trial.number in drawn, gaps=False)
        except (InputError, Infeasible):
            continue
        found.append(anatomy(trial.number, design, result))
    return found


def anatomy(number: int, design: Design, result: Result) -> Anatomy:
    """Of a simulated design; with a timeline where its steps were logged."""
    spans_s = [max(r.run.makespan_ns - int(r.trace.arrival_ns[0]), 0) / 1e9 for r in result.replicas if len(r.trace)]
    rank_s = sum(spans_s) * design.parallelism.pipeline or 1e-9
    operators = [(op.name, op.device, {name: seconds / rank_s for name, seconds in op.by_bound_s.items()})
                 for op in result.operators if op.seconds > 0]
    busy = sum(share for _, _, bounds in operators for share in bounds.values())
    logged = all(r.run.log is not None for r in result.replicas)
    return Anatomy(number, operators, max(1 - busy, 0.0), max(spans_s, default=0.0),
                   timeline(result.replicas, result.kv_memory.num_gpu_blocks) if logged else None)


def timeline(replicas: Sequence[Replica], num_gpu_blocks: int) -> Timeline:
    """Of logged runs: `num_gpu_blocks` with the null block, which is never in use."""
    start_ns = min(int(r.trace.arrival_ns[0]) for r in replicas if len(r.trace))
    end_ns = max(max(r.run.makespan_ns for r in replicas), start_ns + 1)
    edges = np.linspace(start_ns, end_ns, BINS + 1)
    running, waiting, kv_use = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
    usable = max(num_gpu_blocks - 1, 1)
    for log in (r.run.log for r in replicas):
        if log is not None and len(log.n):
            running += _highest(log, log.running, edges)
            waiting += _highest(log, log.waiting, edges)
            kv_use = np.maximum(kv_use, _highest(log, (usable - log.free_blocks) / usable, edges))
    return Timeline((end_ns - start_ns) / 1e9, running, waiting, kv_use)


def _highest(log: StepLog, values: NDArray[np.generic], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest value of the steps under way within each bin; 0 where none is. A value holds from a step's decision to
    its end."""
    first = np.clip(np.searchsorted(edges, log.scheduled_ns, side="right") - 1, 0, BINS - 1)
    last = np.clip(np.searchsorted(edges, log.end_ns, side="left") - 1, first, BINS - 1)
    found = np.zeros(BINS)
    for offset in range(int((last - first).max()) + 1):
        there = first + offset <= last
        np.maximum.at(found, (first + offset)[there], values[there].astype(float))
    return found
