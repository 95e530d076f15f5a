"""One design, one trace, one result: the single-point evaluator. Pure: same input, same output, no files, no globals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.design.load import Design
from simulator.devices.measured.table import OperatorTable
from simulator.engine import engine, reference
from simulator.feasibility import Infeasible, Violation, violations
from simulator.pricing.cache import CostCache
from simulator.pricing.kv_memory import Capacity
from simulator.pricing.price import Priced, price
from simulator.pricing.step import StepCosts
from simulator.results import metric_plugins
from simulator.results.breakdown import OperatorTime, Work, add_up, breakdown, by_bound, work
from simulator.results.summary import summarise
from simulator.scheduler.config import EngineResult, Trace
from simulator.silicon.money import Bill
from simulator.workload.closed_loop import with_arrivals
from simulator.workload.load import load_trace, split

__all__ = ["Infeasible", "Priced", "Result", "Violation", "price", "simulate", "violations"]


@dataclass(frozen=True)
class Replica:
    """One replica's part of the trace and what became of it."""

    trace: Trace
    run: EngineResult


@dataclass(frozen=True)
class Result:
    """What a design does with a workload. `metrics` by the names and units of `simulator.results.metrics.METRICS`."""

    metrics: dict[str, float]
    priced: Priced
    replicas: list[Replica]
    streamed: bool = False  # replicas have totals alone, no values by request; percentiles come from histograms

    @property
    def capacity(self) -> Capacity:
        return self.priced.capacity

    @property
    def bill(self) -> Bill:
        return self.priced.bill

    @cached_property
    def operators(self) -> list[OperatorTime]:
        """Time and energy by operator, summed over replicas."""
        prices, costs = self.priced.prices, self.priced.costs
        return add_up([breakdown(prices, r.run, _host_s(r.run, costs)) for r in self.replicas])

    @cached_property
    def bound_s(self) -> dict[str, float]:
        """Busy seconds by bound, largest first."""
        return by_bound(self.operators)


def simulate(design: Design, *, cache: CostCache | None = None, trace: Trace | None = None, log: bool = False,
             use_reference: bool = False, table: OperatorTable | None = None, gaps: bool = True) -> Result:
    """Serves the design's workload (or `trace`, already loaded) and measures it.

    cache: prices shared with other designs. log: keep every step. use_reference: the readable engine (same result, slower).
    gaps: count the gaps between tokens; without, the ITL percentiles are 0.
    table: measured operators, in place of the file that `hardware.tables` names.
    Raises Infeasible where the design cannot serve at all, InputError where the workload cannot be read.
    """
    found = violations(design)
    if found:
        raise Infeasible(found)
    priced = price(design, cache or CostCache(), table)
    trace = load_trace(design.workload) if trace is None else trace
    return serve(design, priced, trace, log=log, use_reference=use_reference, gaps=gaps)


def serve(design: Design, priced: Priced, trace: Trace, *, log: bool = False, use_reference: bool = False,
          gaps: bool = True) -> Result:
    """The second half of `simulate`, for a design that is priced already. Raises Infeasible where nothing fits."""
    run_engine = reference.run if use_reference else engine.run
    runs = [(part, run_engine(part, priced.scheduler, priced.costs, log=log, gaps=gaps))
            for part in split(trace, design.parallelism.replicas)]
    replicas = [Replica(with_arrivals(part, done), done) for part, done in runs]
    if all((replica.run.finish_ns < 0).all() for replica in replicas):
        raise Infeasible([Violation("kv_fit", 1.0, "no request of the trace fits the KV cache or max_model_len")])
    metrics = summarise(design, [(r.trace, r.run) for r in replicas], work_of(priced, replicas), priced.bill, priced.scheduler)
    result = Result(metrics, priced, replicas)
    metrics |= metric_plugins.measure(design, result)
    return result


def work_of(priced: Priced, replicas: Sequence[Replica]) -> Work:
    """What the operators did, all replicas together."""
    total, *others = (work(priced.prices, r.run) for r in replicas)
    for other in others:
        total = Work(total.devices, total.seconds + other.seconds, total.joules + other.joules)
    return total


def _host_s(run: EngineResult, costs: StepCosts) -> float:
    return float(np.dot(run.steps_by_sequences, costs.host_ns[: len(run.steps_by_sequences)])) / 1e9
