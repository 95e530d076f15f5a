"""The capacity search: the highest request rate at which a design meets its latency targets, and what it delivers there.

The trace is stretched to each rate that is tried, the same requests at every rate and for every design (common random
numbers), so that the answer is smooth in the rate and differences between designs are the designs' own. No rate above
the saturated throughput is tried (all requests there at once, between the finish of the first and the last fifth of
them): more than that is never sustained, even where a trace is too short for its queue to show.

The search is repeated on replicated seeds (`simulator.workload.replicates`), each started from the last one's answer;
their spread gives a confidence interval (Student's t).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from simulator.analysis.confidence import t_quantile
from simulator.analysis.threshold import GROWTH, Threshold, highest
from simulator.design import units
from simulator.design.design import Design
from simulator.engine import engine
from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError, nearest
from simulator.prepare import prepare, rejection
from simulator.pricing.cache import CostCache
from simulator.pricing.price import PricedDesign
from simulator.result import Infeasible, Violation
from simulator.results.metrics import METRICS
from simulator.results.summary import latency_metrics
from simulator.scheduler.limits import served_outputs
from simulator.simulate import serve
from simulator.workload.load import at_rate, load_trace, split
from simulator.workload.replicates import replicates
from simulator.workload.trace import Trace

ATTAINMENT = "slo_attainment"
DEFAULT_ATTAINMENT = 0.99
ALIASES = {"attainment": ATTAINMENT}  # as targets may be written
LATENCIES = tuple(name for name, metric in METRICS.items() if metric.unit == "s" and name != "makespan")
DEFAULT_SEEDS = 3
MAX_SEEDS = 10
EDGE = 0.2  # of the requests on either end of a saturated run: ramp-up and drain
FIRST_GUESS = 0.7  # of the saturated throughput
WARM_GROWTH = 1.03  # first step away from another seed's answer


@dataclass(frozen=True)
class Target:
    """What must hold: upper limits of latency metrics (seconds) and the least share of requests that meet the design's slo.

    tolerance: relative, of the rate; seeds: how many replicates, 1 .. 10.
    """

    limits: Mapping[str, float]
    tolerance: float = 0.01
    seeds: int = DEFAULT_SEEDS

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if name not in (*LATENCIES, ATTAINMENT):
                raise InputError(f"'{name[:60]}' cannot be a target; {nearest(name, (*LATENCIES, ATTAINMENT))}", key="slo")
            if not limit > 0 or (name == ATTAINMENT and limit > 1):
                raise InputError("must be above 0" + (" and at most 100 %" if name == ATTAINMENT else ""), key=f"slo.{name}")
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise InputError(f"must be from 1 to {MAX_SEEDS}, got {self.seeds}", key="seeds")
        if not 1e-4 <= self.tolerance <= 0.5:
            raise InputError(f"must be from 0.01 % to 50 %, got {self.tolerance:.3%}", key="tolerance")

    def excess(self, metrics: Mapping[str, float]) -> float:
        """How far the worst metric is above its target: the logarithm of the ratio, <= 0 where all hold."""
        worst = -math.inf
        for name, limit in self.limits.items():
            if name not in metrics:  # falls among rejected requests, or no request has such a latency
                worst = max(worst, math.inf if metrics["rejected"] else -math.inf)
                continue
            value = metrics[name]
            above, below = (limit, value) if name == ATTAINMENT else (value, limit)
            worst = max(worst, math.log(above / below) if above > 0 and below > 0 else math.inf if above > 0 else -math.inf)
        return worst


@dataclass(frozen=True)
class MaxRate:
    """`thresholds`: one for each seed, requests/s. `metrics`: `simulator.results.metrics.CAPACITY_METRICS`."""

    thresholds: list[Threshold]
    saturated_per_s: float  # throughput of the first seed
    metrics: dict[str, float]
    seeds: list[dict[str, float]] = field(default_factory=list)  # `metrics` of each seed by itself, where asked for


def default_target(design: Design) -> Target:
    """99 % of the requests meet every target of the design's slo. Raises InputError where it has none."""
    if design.slo.ttft_s is None and design.slo.tpot_s is None and design.slo.e2e_s is None:
        raise InputError("a capacity search needs latency targets: set them here, or name metrics (ttft_p99=2s)", key="slo")
    return Target({ATTAINMENT: DEFAULT_ATTAINMENT})


def limits_of(said: Mapping[str, object]) -> dict[str, float]:
    """Targets as written (`ttft_p99: 2 s`, `attainment: 99 %`) in seconds and shares. Raises InputError."""
    limits: dict[str, float] = {}
    for name, value in said.items():
        own = ALIASES.get(name, name)
        try:
            limits[own] = parse_share(value) if own == ATTAINMENT else units.parse(value, "s")
        except InputError as error:
            raise error.within(prefix=f"slo.{name}") from None
    return limits


def parse_share(value: object, key: str | None = None) -> float:
    """'2 %' or 0.02. Raises InputError."""
    try:
        if isinstance(value, str):
            value = value.replace("%", " percent") if not value.replace(".", "", 1).isdigit() else float(value)
        return float(value) if isinstance(value, int | float) else units.parse(value, "")
    except InputError as error:
        raise InputError(f"expected a share such as '2 %', got {str(value)[:40]!r}", key=key) from error


def capacity(design: Design, target: Target, *, priced: PricedDesign | None = None, trace: Trace | None = None,
             drawn: Sequence[Trace] | None = None) -> MaxRate:
    """Searches the capacity of `design` with the requests of its workload (or `trace`, already loaded).

    priced: what `prepare` gave for the design, where it is at hand. drawn: the traces of all seeds, in place of replicates of
    `trace`; each is then also measured at its own capacity, one run of the engine more (`MaxRate.seeds`, with the interval
    and the runs of all seeds together).
    Raises Infeasible where the design cannot serve or misses a target at any rate (with `drawn`: on one of them),
    InputError for a workload that cannot be stretched or replicated.
    """
    priced = priced or prepare(design, CostCache())
    if drawn is None:
        traces = replicates(design.workload, load_trace(design.workload) if trace is None else trace, target.seeds)
    else:
        traces = list(drawn)
    for requests in traces:
        rejected = int(np.count_nonzero(served_outputs(requests, priced.scheduler) == 0))
        if rejected < len(requests) and (too_many := rejection(design, rejected, len(requests))):
            raise Infeasible([too_many])
    gaps = any(name.startswith("itl") for name in target.limits)

    def served(requests: Trace) -> list[tuple[Trace, EngineResult]]:
        return [(part, engine.run(part, priced.scheduler, priced.costs, gaps=gaps))
                for part in split(requests, design.parallelism.replicas)]

    def measured(requests: Trace) -> dict[str, float]:
        return latency_metrics(design, served(requests), priced.scheduler)

    def excess(requests: Trace, rate: float) -> float:
        return target.excess(measured(at_rate(requests, rate)))

    thresholds: list[Threshold] = []
    tops: list[float] = []
    for requests in traces:
        tops.append(_saturated_per_s(served(replace(requests, arrival_ns=np.zeros_like(requests.arrival_ns)))))
        last = thresholds[-1].rate if thresholds else 0.0
        thresholds.append(highest(partial(excess, requests), tops[-1], last or FIRST_GUESS * tops[-1], target.tolerance,
                                  WARM_GROWTH if last else GROWTH))
    mean = statistics.fmean(t.rate for t in thresholds)
    if not mean or (drawn is not None and not all(t.rate for t in thresholds)):
        never = next(k for k, t in enumerate(thresholds) if not t.rate)
        raise Infeasible([_never(target, measured(at_rate(traces[never], tops[never] / 1024)))])
    runs = sum(t.runs for t in thresholds) + len(thresholds)
    if drawn is not None:
        runs += len(thresholds)
    metrics = _metrics(design, priced, traces[0], thresholds, mean, runs)
    joint = {name: metrics[name] for name in ("capacity_low", "capacity_high", "capacity_runs")}
    seeds = [{**_metrics(design, priced, requests, [t], t.rate, runs), **joint}
             for requests, t in zip(traces, thresholds, strict=True)] if drawn is not None else []
    return MaxRate(thresholds, tops[0], metrics, seeds)


def _saturated_per_s(runs: list[tuple[Trace, EngineResult]]) -> float:
    """Requests per second while the batch is full: between the finish of the first and the last fifth."""
    finish = np.sort(np.concatenate([run.finish_ns[run.finish_ns >= 0] for _, run in runs]))
    n = len(finish)
    if not n:
        raise Infeasible([Violation("kv_fit", 1.0, "no request of the trace fits the KV cache or max_model_len")])
    first, last = int(EDGE * (n - 1)), int((1 - EDGE) * (n - 1))
    if finish[last] == finish[first]:  # a handful of requests, or all in one batch
        return n / max(float(finish[-1]) / 1e9, 1e-9)
    return (last - first) / (float(finish[last] - finish[first]) / 1e9)


def _never(target: Target, metrics: Mapping[str, float]) -> Violation:
    """The target that a nearly idle design misses most."""
    name = max(target.limits, key=lambda n: Target({n: target.limits[n]}).excess(metrics))
    amount = min(math.expm1(Target({name: target.limits[name]}).excess(metrics)), 1e3)
    return Violation("slo_at_any_rate", max(amount, 1e-6),
                     f"{name} is {metrics.get(name, math.inf):.4g} even at a thousandth of the throughput, the target is "
                     f"{target.limits[name]:.4g}")


def _metrics(design: Design, priced: PricedDesign, trace: Trace, thresholds: list[Threshold], mean: float,
             runs: int) -> dict[str, float]:
    """The design at its capacity, in steady state: throughput is capacity times tokens, without the run's ramps."""
    at = serve(design, priced, at_rate(trace, mean)).metrics
    half = _half_width([t.rate for t in thresholds])
    done = 1.0 - at["rejected"] / at["requests"]
    outputs = at["output_throughput"] / at["request_throughput"]  # mean tokens of a finished request
    tokens_per_s = mean * done * outputs
    return {
        "capacity": mean, "capacity_low": max(mean - half, 0.0), "capacity_high": mean + half,
        "capacity_per_device": mean / design.parallelism.devices, "goodput_at_slo": mean * at["slo_attainment"],
        "output_throughput_at_slo": tokens_per_s,
        "cost_per_million_tokens_at_slo": float(at["cost_per_hour"]) / 3600 / tokens_per_s * 1e6,
        "energy_per_token_at_slo": float(at["energy_per_token"]), "capacity_runs": float(runs + 1),
    }


def _half_width(rates: list[float]) -> float:
    """Of the 95 % confidence interval of the mean; 0 for a single seed, which says nothing about its spread.

    Student's t to three decimals, as printed tables have it: intervals in the ledgers of older studies stay comparable.
    """
    if len(rates) == 1:
        return 0.0
    return round(t_quantile(len(rates)), 3) * statistics.stdev(rates) / math.sqrt(len(rates))
