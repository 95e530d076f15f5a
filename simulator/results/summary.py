"""The computation of all metrics from request times, operator times and prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.design.design import Design
from simulator.engine.result import EngineResult
from simulator.results.breakdown import OperatorTotals
from simulator.results.energy import energy_j
from simulator.results.latency import Latency, Statistics, latency
from simulator.results.steady import offered_span_s, piled_s, steady_span_s
from simulator.scheduler.config import SchedulerConfig
from simulator.silicon.money import Bill, cost_per_hour_usd
from simulator.workload.trace import Trace

Runs = Sequence[tuple[Trace, EngineResult]]


@dataclass(frozen=True)
class RequestTotals:
    """What became of the requests, all replicas together."""

    latency: Latency
    requests: int
    prompt_tokens: int
    finished_prompt_tokens: int  # of requests that finished, from here on
    output_tokens: int
    cached_tokens: int
    preemptions: int  # of all
    first_arrival_ns: int
    last_arrival_ns: int
    last_finish_ns: int


def summarise(design: Design, runs: Runs, done: OperatorTotals, bill: Bill,
              scheduler: SchedulerConfig) -> dict[str, float]:
    """Every metric of the run, without latencies that no request has (TPOT of one-token outputs) and percentiles that rejected
    requests hold."""
    busy = [(int(trace.arrival_ns[0]), run) for trace, run in runs]
    return metrics_of(design, request_totals(design, runs, scheduler), busy, done, bill, scheduler)


def metrics_of(design: Design, found: RequestTotals, busy: Sequence[tuple[int, EngineResult]], done: OperatorTotals, bill: Bill,
               scheduler: SchedulerConfig) -> dict[str, float]:
    """Every metric, from what became of the requests and, of each replica, first arrival (ns) and totals."""
    metrics = _latency_metrics(design, found)
    metrics.update(_scheduling(found, busy, scheduler))
    metrics.update(_utilisation(design, busy, done))
    metrics.update(_money(design, metrics, found, done, bill))
    return metrics


def request_totals(design: Design, runs: Runs, scheduler: SchedulerConfig) -> RequestTotals:
    """From the requests' times. Exact."""
    trace, run = _together(runs)
    found = latency(trace, run, max_model_len=scheduler.max_model_len, ttft_slo_s=design.slo.ttft_s,
                       tpot_slo_s=design.slo.tpot_s, e2e_slo_s=design.slo.e2e_s)
    done = run.finish_ns >= 0
    prompts, outputs = trace.prompt_tokens, np.minimum(trace.output_tokens, scheduler.max_model_len - trace.prompt_tokens)
    if found.rejected:
        prompts, outputs = prompts[done], outputs[done]
    return RequestTotals(
        latency=found, requests=len(trace), prompt_tokens=int(trace.prompt_tokens.sum(dtype=np.int64)),
        finished_prompt_tokens=int(prompts.sum(dtype=np.int64)), output_tokens=int(outputs.sum(dtype=np.int64)),
        cached_tokens=sum(int(r.cached_tokens[r.finish_ns >= 0].sum()) for _, r in runs),
        preemptions=sum(int(r.preemptions.sum()) for _, r in runs),
        first_arrival_ns=int(trace.arrival_ns.min()), last_arrival_ns=int(trace.arrival_ns.max()),
        last_finish_ns=int(run.finish_ns.max()),
    )


def latency_metrics(design: Design, runs: Runs, scheduler: SchedulerConfig) -> dict[str, float]:
    """TTFT, TPOT, ITL, E2E and queueing statistics, throughput and goodput over all replicas."""
    return _latency_metrics(design, request_totals(design, runs, scheduler))


def _latency_metrics(design: Design, of: RequestTotals) -> dict[str, float]:
    found = of.latency
    makespan_s = max((of.last_finish_ns - of.first_arrival_ns) / 1e9, 1e-9)
    span_s, growth = _rates(design, of, makespan_s)
    tokens_per_s = of.output_tokens / span_s
    return {
        **_named("ttft", found.ttft), **_named("tpot", found.tpot), **_named("itl", found.itl), **_named("e2e", found.e2e),
        **_named("queueing", found.queueing),
        "request_throughput": found.finished / span_s, "prompt_throughput": of.finished_prompt_tokens / span_s,
        "output_throughput": tokens_per_s, "output_throughput_per_device": tokens_per_s / design.parallelism.devices,
        "goodput": found.met_slo / span_s, "slo_attainment": found.met_slo / of.requests, "makespan": makespan_s,
        "backlog_growth": growth, "requests": float(of.requests), "rejected": float(found.rejected),
    }


def _rates(design: Design, of: RequestTotals, makespan_s: float) -> tuple[float, float]:
    """(span that rates are taken over, requests a second that pile up)."""
    arrivals_s = (of.last_arrival_ns - of.first_arrival_ns) / 1e9
    if design.workload.concurrency is not None or of.requests < 2 or not arrivals_s:  # clients come when they are answered
        return makespan_s, 0.0
    queueing_s, e2e_s = of.latency.queueing.mean_s, of.latency.e2e.mean_s
    span_s = steady_span_s(of.requests, arrivals_s, makespan_s, queueing_s, e2e_s)
    offered_s = offered_span_s(of.requests, arrivals_s)
    served_s = max(min(offered_s + piled_s(queueing_s, e2e_s), makespan_s), offered_s)
    return span_s, of.requests / offered_s - of.requests / served_s


def _named(name: str, of: Statistics) -> dict[str, float]:
    values = {"mean": of.mean_s, "p50": of.p50_s, "p90": of.p90_s, "p95": of.p95_s, "p99": of.p99_s}
    return {f"{name}_{statistic}": value for statistic, value in values.items() if math.isfinite(value)}


def _together(runs: Runs) -> tuple[Trace, EngineResult]:
    """The replicas' requests one after another, with the times that latencies are computed from."""
    trace, run = runs[0]
    if len(runs) == 1:
        return trace, run
    joined: dict[str, Any] = {name: np.concatenate([getattr(t, name) for t, _ in runs])
              for name in ("arrival_ns", "prompt_tokens", "output_tokens")}
    times: dict[str, Any] = {name: np.concatenate([getattr(r, name) for _, r in runs])
             for name in ("first_scheduled_ns", "first_token_ns", "finish_ns")}
    counts: Any = None if run.gap_counts is None else sum(r.gap_counts for _, r in runs if r.gap_counts is not None)
    return Trace(**joined), replace(run, **times, gap_counts=counts)


def _scheduling(of: RequestTotals, busy: Sequence[tuple[int, EngineResult]], scheduler: SchedulerConfig) -> dict[str, float]:
    """Steps, batches, queue and KV use."""
    results = [r for _, r in busy]
    steps = sum(int(r.steps_by_tokens.sum()) for r in results)
    span_ns = sum(_busy_span_ns(start, r) for start, r in busy) or 1
    usable = max(scheduler.num_gpu_blocks - 1, 1)
    return {
        "preemptions": float(of.preemptions),
        "steps": float(steps),
        "batch_mean": sum(_weighted(r.steps_by_sequences) for r in results) / max(steps, 1),
        "step_tokens_mean": sum(_weighted(r.steps_by_tokens) for r in results) / max(steps, 1),
        "waiting_mean": sum(r.waiting_ns for r in results) / span_ns,
        "kv_blocks": float(scheduler.num_gpu_blocks),
        "kv_use_mean": sum(r.used_block_ns for r in results) / span_ns / usable,
        "kv_use_peak": max(r.peak_used_blocks for r in results) / usable,
        "cached_prompt_share": of.cached_tokens / of.prompt_tokens,
    }


def _busy_span_ns(first_arrival_ns: int, run: EngineResult) -> int:
    """First arrival to the end of the last step; 0 for a replica whose requests were all refused."""
    return max(run.makespan_ns - first_arrival_ns, 0)


def _weighted(histogram: np.ndarray) -> float:
    return float(np.dot(np.arange(len(histogram)), histogram))


def _utilisation(design: Design, busy_runs: Sequence[tuple[int, EngineResult]], done: OperatorTotals) -> dict[str, float]:
    """Busy shares. A stage of the pipeline does 1/stages of the work, so busy time is divided by their number."""
    span_s = sum(_busy_span_ns(start, r) for start, r in busy_runs) / 1e9 or 1e-9
    busy = dict.fromkeys(("device", "pim", "link"), 0.0)
    for device, seconds in zip(done.devices, done.seconds.tolist(), strict=True):
        busy[device] += seconds
    return {f"{name}_utilization": min(seconds / span_s / design.parallelism.pipeline, 1.0) for name, seconds in busy.items()}


def _money(design: Design, metrics: dict[str, float], found: RequestTotals, done: OperatorTotals, bill: Bill) -> dict[str, float]:
    """Energy, power, capital, cost per hour and per million generated tokens."""
    devices, span_s = design.parallelism.devices, metrics["makespan"]
    parts = energy_j(design, metrics, done, bill)
    total_j = sum(parts.values())
    power_w = total_j / span_s
    hourly = cost_per_hour_usd(bill, devices, power_w, design.costs)
    return {
        "energy": total_j, "energy_per_token": total_j / found.output_tokens, "power": power_w,
        "energy_per_request": total_j / found.latency.finished,
        "board_power": (total_j - parts["server"]) / span_s / devices, "devices": float(devices),
        "area": bill.area_mm2, "power_density": bill.w_per_mm2, "capital": bill.capital_usd * devices, "cost_per_hour": hourly,
        "cost_per_million_tokens": hourly / 3600 / metrics["output_throughput"] * 1e6,
    }
