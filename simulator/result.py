"""The result of a simulation, or the reasons why a design cannot serve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.design.design import Design
from simulator.engine.result import EngineResult
from simulator.pricing.kv_memory import KvMemory
from simulator.pricing.price import PricedDesign
from simulator.pricing.step import StepCosts
from simulator.results.breakdown import OperatorTime, add_up, breakdown, by_bound, operator_totals
from simulator.results.energy import energy_j
from simulator.silicon.money import Bill
from simulator.workload.trace import Trace


@dataclass(frozen=True)
class Violation:
    """A named requirement that a design misses, by a relative `amount` > 0 (what a search can use as a distance)."""

    name: str
    amount: float
    message: str


class Infeasible(Exception):
    """A design that cannot serve; `violations` says why."""

    def __init__(self, found: list[Violation]) -> None:
        self.violations = found
        super().__init__("; ".join(v.message for v in found))

    def __reduce__(self) -> tuple[object, ...]:
        return (Infeasible, (self.violations,))


@dataclass(frozen=True)
class Replica:
    """One replica's part of the trace and what became of it."""

    trace: Trace
    run: EngineResult


@dataclass(frozen=True)
class Result:
    """What a design does with a workload. `metrics` by the names and units of `simulator.results.metrics.METRICS`."""

    metrics: dict[str, float]
    priced: PricedDesign
    replicas: list[Replica]
    streamed: bool = False  # replicas have totals alone, no values by request; percentiles come from histograms

    @property
    def kv_memory(self) -> KvMemory:
        return self.priced.kv_memory

    @property
    def bill(self) -> Bill:
        return self.priced.bill

    @cached_property
    def operators(self) -> list[OperatorTime]:
        """Time and energy by operator, summed over replicas."""
        prices, costs = self.priced.prices, self.priced.costs
        return add_up([breakdown(prices, r.run, _host_s(r.run, costs)) for r in self.replicas])

    def energy_by_component_j(self, design: Design) -> dict[str, float]:
        """Joules by component (`simulator.results.energy`); `design`: the one that was simulated."""
        done = operator_totals(self.priced.prices, [r.run for r in self.replicas])
        return energy_j(design, self.metrics, done, self.bill)

    @cached_property
    def bound_s(self) -> dict[str, float]:
        """Busy seconds by bound, largest first."""
        return by_bound(self.operators)


def _host_s(run: EngineResult, costs: StepCosts) -> float:
    return float(np.dot(run.steps_by_sequences, costs.host_ns[: len(run.steps_by_sequences)])) / 1e9
