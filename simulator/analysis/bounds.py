"""Bounds on every metric of a design under a workload, computed without simulating it.

Each interval holds the simulated value for certain, so that a design whose best case is worse than another's value is
proved worse. Latencies and makespan have floors (`simulator.analysis.floors`), throughputs the ceilings that follow, prices are
exact, energy is at least static power over the shortest makespan plus the cheapest way to compute every token.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

import numpy as np

from simulator.analysis.floors import Floors, floors
from simulator.design.design import Design
from simulator.pricing import grids
from simulator.pricing.price import PricedDesign
from simulator.results.latency import statistics
from simulator.results.metrics import METRICS
from simulator.results.steady import LIFETIMES, offered_span_s
from simulator.silicon.money import cost_per_hour_usd
from simulator.workload.load import split
from simulator.workload.trace import Trace

Interval = tuple[float, float]
UNKNOWN: Interval = (-math.inf, math.inf)
HISTOGRAM = 0.995  # ITL percentiles are read off a histogram that is exact to 0.4 %
EXACT = 1 - 1e-9
ROUNDING = 1e-12  # of a mean, relative


def bounds(design: Design, priced: PricedDesign, trace: Trace, wanted: Collection[str] = METRICS) -> dict[str, Interval]:
    """Metric -> (lowest, highest possible value) of serving `trace`. Prefix-cache hits may be as good as they like.

    wanted: latency metrics that are not among these may be left at (0, inf); percentiles are what bounds cost.
    """
    parts = split(trace, design.parallelism.replicas)
    found = [floors(part, priced.scheduler, priced.costs) for part in parts]
    result = dict.fromkeys(METRICS, (0.0, math.inf))
    outputs = np.concatenate([f.outputs for f in found])
    done = outputs > 0
    if not done.any():
        return dict.fromkeys(METRICS, UNKNOWN)
    ttft = np.concatenate([f.ttft_ns for f in found])
    decode = np.concatenate([f.decode_ns for f in found])
    per_token = decode / np.maximum(outputs - 1, 1)
    for name, values in (("ttft", ttft[done]), ("tpot", per_token[outputs > 1]), ("e2e", (ttft + decode)[done])):
        if not any(metric.startswith(name) for metric in wanted):
            continue
        own = statistics(values)
        result |= {f"{name}_{k}": (v * EXACT, math.inf) for k, v in (
            ("mean", own.mean_s), ("p50", own.p50_s), ("p90", own.p90_s), ("p95", own.p95_s), ("p99", own.p99_s))}
    gaps = int(np.maximum(outputs - 1, 0).sum())
    if gaps:
        result["itl_mean"] = (float(decode[outputs > 1].sum()) / gaps / 1e9 * EXACT, math.inf)
        least = min(f.gap_ns for f in found) / 1e9 * HISTOGRAM
        result |= {f"itl_p{p}": (least, math.inf) for p in (50, 90, 95, 99)}
    span_s = _span_s(parts, found)
    # rates are taken over the arrivals without the drain, but over so many lifetimes at least (simulator.results.steady)
    settled_s = LIFETIMES * float((ttft + decode)[done].mean()) / 1e9 * EXACT
    rated_s = min(span_s, max(_offered_s(trace, design), settled_s, 1e-9))
    prompts = np.concatenate([part.prompt_tokens for part in parts])
    targets = ((design.slo.ttft_s, ttft), (design.slo.tpot_s, np.where(outputs > 1, per_token, 0.0)),
               (design.slo.e2e_s, ttft + decode))
    may_meet = done.copy()
    for target_s, least_ns in targets:
        if target_s is not None:
            may_meet &= least_ns <= target_s * 1e9
    tokens = float(outputs.sum())
    met, count, requests = float(may_meet.sum()), float(done.sum()), float(len(trace))
    devices = design.parallelism.devices
    bill, scheduler = priced.bill, priced.scheduler
    up = 1 / EXACT
    static_w = bill.static_w * devices
    energy_j = (design.parallelism.tensor * _joules(priced, found) + static_w * span_s) * EXACT
    hourly = cost_per_hour_usd(bill, devices, static_w * EXACT, design.costs)
    result |= {
        "request_throughput": (0.0, count / rated_s), "prompt_throughput": (0.0, float(prompts[done].sum()) / rated_s),
        "output_throughput": (0.0, tokens / rated_s), "output_throughput_per_device": (0.0, tokens / rated_s / devices),
        "goodput": (0.0, met / rated_s), "slo_attainment": (0.0, met / requests * up), "makespan": (span_s, math.inf),
        "requests": (requests, requests), "rejected": (requests - count, requests - count),
        "preemptions": (0.0, math.inf if any(f.preempts for f in found) else 0.0),
        "steps": (float(sum(f.tokens for f in found) // scheduler.max_num_batched_tokens), math.inf),
        "batch_mean": (0.0, float(scheduler.max_num_seqs)), "step_tokens_mean": (0.0, float(scheduler.max_num_batched_tokens)),
        "kv_blocks": (float(scheduler.num_gpu_blocks),) * 2, "kv_use_mean": (0.0, up), "kv_use_peak": (0.0, up),
        "cached_prompt_share": (0.0, 1.0 if scheduler.enable_prefix_caching else 0.0),
        "device_utilization": (0.0, 1.0), "pim_utilization": (0.0, 1.0), "link_utilization": (0.0, 1.0),
        "energy": (energy_j, math.inf), "energy_per_token": (energy_j / tokens * EXACT, math.inf),
        "power": (static_w * EXACT, math.inf), "devices": (float(devices),) * 2, "area": (bill.area_mm2,) * 2,
        "power_density": (bill.w_per_mm2,) * 2,
        "capital": (bill.capital_usd * devices,) * 2, "cost_per_hour": (hourly, math.inf),
        "cost_per_million_tokens": (hourly / 3600 / (tokens / rated_s) * 1e6 * EXACT, math.inf),
    }
    return result


def mean_bounds(found: Sequence[Mapping[str, Interval]]) -> dict[str, Interval]:
    """Intervals that hold the mean of every metric over several traces: the means of their ends (exact where all are)."""
    return {name: (_mean([one[name][0] for one in found], -ROUNDING), _mean([one[name][1] for one in found], ROUNDING))
            for name in found[0]}


def _mean(ends: list[float], slack: float) -> float:
    if all(end == ends[0] for end in ends):
        return ends[0]
    mean = fmean(ends)
    return mean + slack * abs(mean) if math.isfinite(mean) else mean


def _span_s(parts: list[Trace], found: list[Floors]) -> float:
    """First arrival to last finish, at least."""
    start = min(int(part.arrival_ns[0]) for part in parts)
    ends = [0.0]
    for part, floor in zip(parts, found, strict=True):
        done = floor.outputs > 0
        if done.any():
            alone = part.arrival_ns[done] + floor.ttft_ns[done] + floor.decode_ns[done]
            ends.append(max(float(alone.max()), float(part.arrival_ns[done][0]) + floor.work_ns) - start)
    return max(max(ends) / 1e9 * EXACT, 1e-9)


def _offered_s(trace: Trace, design: Design) -> float:
    """The time in which the requests come, as rates count it; endless where rates are taken over the makespan."""
    arrivals_s = int(trace.arrival_ns[-1] - trace.arrival_ns[0]) / 1e9
    if design.workload.concurrency is not None or len(trace) < 2 or not arrivals_s:
        return math.inf
    return offered_span_s(len(trace), arrivals_s)  # as the metrics have it, to the last bit: what keeps up ties


def _joules(priced: PricedDesign, found: list[Floors]) -> float:
    """Dynamic energy of one rank outside attention: every token through every operator at its cheapest batch."""
    tokens, entries = sum(f.tokens for f in found), sum(f.entries for f in found)
    total = 0.0
    for curve in priced.curves:
        if curve.part != "attention":
            knots = grids.knots_of_size(grids.row_knots, 16384, len(curve.joules))
            per_row = float((curve.joules / knots).min())
            total += curve.repeats * per_row * (entries if curve.part == "head" else tokens)
    return total
