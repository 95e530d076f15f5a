"""From request times, operator times and prices to the metrics of `simulator.metrics`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.breakdown import OperatorTime
from simulator.design import Design
from simulator.hardware.cost import Bill, cost_per_hour_usd
from simulator.metrics import PERCENTILES
from simulator.serving.config import EngineResult, SchedulerConfig, Trace

Runs = Sequence[tuple[Trace, EngineResult]]


def summarise(design: Design, runs: Runs, operators: list[OperatorTime], bill: Bill,
              scheduler: SchedulerConfig) -> dict[str, float]:
    """Every metric of the run. Latencies that no request has (TPOT of one-token outputs) are 0."""
    metrics = latency(design, runs)
    metrics.update(scheduling(runs, scheduler))
    metrics.update(utilisation(design, runs, operators))
    metrics.update(money(design, metrics, operators, bill))
    return metrics


def latency(design: Design, runs: Runs) -> dict[str, float]:
    """TTFT, TPOT, ITL, E2E and queueing statistics, throughput and goodput over all replicas."""
    arrival = np.concatenate([t.arrival_ns for t, _ in runs])
    output = np.concatenate([t.output_tokens for t, _ in runs]).astype(np.int64)
    prompt = np.concatenate([t.prompt_tokens for t, _ in runs]).astype(np.int64)
    scheduled, first, finish = (np.concatenate([getattr(r, name) for _, r in runs])
                                for name in ("first_scheduled_ns", "first_token_ns", "finish_ns"))
    done = finish >= 0
    ttft_s = (first - arrival)[done] / 1e9
    e2e_s = (finish - arrival)[done] / 1e9
    gaps = output[done] - 1
    decode_s = (finish - first)[done] / 1e9
    many = gaps > 0
    tpot_s = decode_s[many] / gaps[many]
    metrics: dict[str, float] = {}
    for name, values in (("ttft", ttft_s), ("tpot", tpot_s), ("e2e", e2e_s), ("queueing", (scheduled - arrival)[done] / 1e9)):
        metrics.update(_statistics(name, values))
    span_s = max((int(finish.max()) - int(arrival.min())) / 1e9, 1e-9)
    slo = design.slo
    met = np.ones(len(ttft_s), dtype=bool)
    if slo.ttft_s is not None:
        met &= ttft_s <= slo.ttft_s
    if slo.e2e_s is not None:
        met &= e2e_s <= slo.e2e_s
    if slo.tpot_s is not None:
        met[many] &= tpot_s <= slo.tpot_s
    tokens_per_s = float(output[done].sum()) / span_s
    metrics.update(
        request_throughput=float(done.sum()) / span_s, prompt_throughput=float(prompt[done].sum()) / span_s,
        output_throughput=tokens_per_s, output_throughput_per_device=tokens_per_s / design.parallelism.devices,
        goodput=float(met.sum()) / span_s, slo_attainment=float(met.sum()) / len(arrival), makespan=span_s,
        requests=float(len(arrival)), rejected=float((~done).sum()))
    return metrics


def _statistics(name: str, values: np.ndarray) -> dict[str, float]:
    if len(values) == 0:
        return {f"{name}_mean": 0.0, **{f"{name}_p{p}": 0.0 for p in PERCENTILES}}
    percentiles = np.percentile(values, PERCENTILES)
    return {f"{name}_mean": float(values.mean()),
            **{f"{name}_p{p}": float(v) for p, v in zip(PERCENTILES, percentiles, strict=True)}}


def scheduling(runs: Runs, scheduler: SchedulerConfig) -> dict[str, float]:
    """Steps, batches, queue and KV use."""
    results = [r for _, r in runs]
    steps = sum(int(r.steps_by_tokens.sum()) for r in results)
    span_ns = sum(r.makespan_ns - int(t.arrival_ns[0]) for t, r in runs) or 1
    usable = max(scheduler.num_gpu_blocks - 1, 1)
    prompt = sum(int(t.prompt_tokens.sum()) for t, _ in runs)
    return {
        "preemptions": float(sum(int(r.preemptions.sum()) for r in results)),
        "steps": float(steps),
        "batch_mean": sum(_weighted(r.steps_by_sequences) for r in results) / max(steps, 1),
        "step_tokens_mean": sum(_weighted(r.steps_by_tokens) for r in results) / max(steps, 1),
        "waiting_mean": sum(r.waiting_ns for r in results) / span_ns,
        "kv_blocks": float(scheduler.num_gpu_blocks),
        "kv_use_mean": sum(r.used_block_ns for r in results) / span_ns / usable,
        "kv_use_peak": max(r.peak_used_blocks for r in results) / usable,
        "cached_prompt_share": sum(int(r.cached_tokens[r.finish_ns >= 0].sum()) for r in results) / prompt,
    }


def _weighted(histogram: np.ndarray) -> float:
    return float(np.dot(np.arange(len(histogram)), histogram))


def utilisation(design: Design, runs: Runs, operators: list[OperatorTime]) -> dict[str, float]:
    """Busy shares. A stage of the pipeline does 1/stages of the work, so busy time is divided by their number."""
    span_s = sum((r.makespan_ns - int(t.arrival_ns[0])) / 1e9 for t, r in runs) or 1e-9
    busy = {name: sum(op.seconds for op in operators if op.device == name) / span_s / design.parallelism.pipeline
            for name in ("device", "pim", "link")}
    return {f"{name}_utilization": min(share, 1.0) for name, share in busy.items()}


def money(design: Design, metrics: dict[str, float], operators: list[OperatorTime], bill: Bill) -> dict[str, float]:
    """Energy, power, capital, cost per hour and per million generated tokens."""
    devices = design.parallelism.devices
    dynamic_j = design.parallelism.tensor * sum(op.joules for op in operators)
    energy_j = dynamic_j + bill.static_w * devices * metrics["makespan"]
    power_w = energy_j / metrics["makespan"]
    tokens = metrics["output_throughput"] * metrics["makespan"]
    hourly = cost_per_hour_usd(bill, devices, power_w, design.costs)
    return {
        "energy": energy_j, "energy_per_token": energy_j / tokens, "power": power_w, "devices": float(devices),
        "area": bill.area_mm2, "capital": bill.capital_usd * devices, "cost_per_hour": hourly,
        "cost_per_million_tokens": hourly / 3600 / metrics["output_throughput"] * 1e6,
    }
