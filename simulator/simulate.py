"""One design, one trace, one result: the single-point evaluator. Pure: same input, same output, no files, no globals."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator import own_metrics
from simulator.breakdown import OperatorTime, add_up, breakdown, by_bound
from simulator.costs import capacity, grids, swap, tables
from simulator.costs.attention_launch import once_per_step
from simulator.costs.cache import CostCache
from simulator.costs.capacity import Capacity
from simulator.costs.curves import Curve, price_all
from simulator.costs.launch import capture_sizes
from simulator.costs.step import StepCosts
from simulator.design import Design
from simulator.feasibility import Infeasible, Violation, violations
from simulator.hardware.build import Devices, build
from simulator.hardware.cost import Bill, bill
from simulator.hardware.measured import parquet
from simulator.hardware.measured.bind import attention_extras, measured_devices
from simulator.hardware.measured.gaps import kernel_gaps
from simulator.hardware.measured.table import OperatorTable, at_speed
from simulator.hardware.priced import Device
from simulator.model.layers import operators
from simulator.model.operators import Collective, DecodeAttention, NamedOperator, PrefillAttention
from simulator.model.sharding import stage_layers
from simulator.serving import engine, reference
from simulator.serving.closed_loop import with_arrivals
from simulator.serving.config import EngineResult, SchedulerConfig, Trace
from simulator.serving.trace import load_trace, split
from simulator.summary import summarise

__all__ = ["Infeasible", "Result", "Violation", "price", "simulate", "violations"]


@dataclass(frozen=True)
class Priced:
    """A design made ready to run: its tables, its limits, its price."""

    costs: StepCosts
    scheduler: SchedulerConfig
    curves: list[Curve]
    device_names: list[str]
    capacity: Capacity
    bill: Bill


@dataclass(frozen=True)
class Replica:
    """One replica's part of the trace and what became of it."""

    trace: Trace
    run: EngineResult


@dataclass(frozen=True)
class Result:
    """What a design does with a workload. `metrics` by the names and units of `simulator.metrics.METRICS`."""

    metrics: dict[str, float]
    operators: list[OperatorTime]  # summed over replicas
    bound_s: dict[str, float]  # busy seconds by bound, largest first
    capacity: Capacity
    bill: Bill
    replicas: list[Replica]


def simulate(design: Design, *, cache: CostCache | None = None, trace: Trace | None = None, log: bool = False,
             use_reference: bool = False, table: OperatorTable | None = None, gaps: bool = True) -> Result:
    """Serves the design's workload (or `trace`, already loaded) and measures it.

    cache: prices shared with other designs. log: keep every step. use_reference: the readable engine (same result, slower).
    gaps: count the gaps between tokens; without, the ITL percentiles are 0 (and pipelined designs simulate faster).
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
    ops = add_up([breakdown(priced.curves, priced.device_names, r.run, _host_s(r.run, priced.costs)) for r in replicas])
    metrics = summarise(design, [(r.trace, r.run) for r in replicas], ops, priced.bill, priced.scheduler)
    result = Result(metrics, ops, by_bound(ops), priced.capacity, priced.bill, replicas)
    metrics |= own_metrics.measure(design, result)
    return result


def price(design: Design, cache: CostCache, table: OperatorTable | None = None) -> Priced:
    """Prices every operator of the design and derives the step tables and scheduler limits."""
    arch, hardware, parallelism, serving = design.model, design.hardware, design.parallelism, design.serving
    room = capacity.predict(arch, design.precision, hardware, parallelism, serving)
    devices = build(hardware, parallelism)
    ops = operators(arch, design.precision, parallelism.tensor, parallelism.pipeline,
                    expert_parallel=parallelism.expert_parallel)
    if table is None and hardware.tables is not None:
        table = parquet.read_tables(Path(hardware.tables), parallelism.tensor)
    if table is not None:
        table = at_speed(table, hardware.kernel_time)
        devices = measured_devices(devices, table, ops)
    curves = price_all(ops, functools.partial(_device_of, devices), cache, serving.max_num_batched_tokens,
                       serving.max_num_seqs)
    extras = attention_extras(devices.decode, ops, serving.max_num_seqs, grids.context_knots())
    launch_s = devices.attention_launch_s if extras is None else extras.launch_s
    curves = once_per_step(curves, launch_s, serving.max_num_batched_tokens)
    sizes = capture_sizes(serving.max_num_seqs, serving.max_num_batched_tokens) if serving.cuda_graphs else ()
    if table is not None:
        curves += kernel_gaps(ops, table, sizes, grids.row_knots(serving.max_num_batched_tokens))
    layers = stage_layers(arch.layers, parallelism.pipeline)
    decode = next(op.operator for op in ops if isinstance(op.operator, DecodeAttention))
    channels = devices.channel_costs(decode) if devices.channel_costs is not None else None
    beside = None
    if devices.beside_pim is not None and hardware.pim.sub_batches != "never":
        slowed = dataclasses.replace(devices, compute=devices.beside_pim)
        blocks = [op for op in ops if op.part in ("before", "after")]
        beside = [*price_all(blocks, functools.partial(_device_of, slowed), cache, serving.max_num_batched_tokens,
                             serving.max_num_seqs), curves[-1]]  # and the attention launch
    costs = tables.step_costs(curves, hardware, layers, serving.max_num_batched_tokens, serving.max_num_seqs, channels,
                              extras=extras, capture_sizes=sizes, beside=beside,
                              swap_block_s=swap.block_s(arch, design.precision, hardware, parallelism, serving))
    names = ["link" if isinstance(op.operator, Collective)
             else "pim" if isinstance(op.operator, DecodeAttention) and hardware.attention_on_pim else "device" for op in ops]
    names += ["device"] * (len(curves) - len(names))
    longest = arch.max_positions if serving.max_model_len == "auto" else serving.max_model_len
    scheduler = SchedulerConfig(
        max_num_seqs=serving.max_num_seqs, max_num_batched_tokens=serving.max_num_batched_tokens,
        block_size=serving.block_size, num_gpu_blocks=room.num_gpu_blocks, max_model_len=longest,
        enable_chunked_prefill=serving.enable_chunked_prefill, enable_prefix_caching=serving.enable_prefix_caching,
        long_prefill_token_threshold=serving.long_prefill_token_threshold, policy=serving.policy,
        async_scheduling=serving.async_scheduling, preemption=serving.preemption, pipeline_parallel_size=parallelism.pipeline,
        scheduler_reserve_full_isl=serving.scheduler_reserve_full_isl, watermark=serving.watermark)
    return Priced(costs, scheduler, curves, names, room, bill(hardware, parallelism, design.costs))


def _device_of(devices: Devices, named: NamedOperator) -> Device:
    if isinstance(named.operator, Collective):
        return devices.link
    if isinstance(named.operator, PrefillAttention):
        return devices.prefill
    return devices.decode if isinstance(named.operator, DecodeAttention) else devices.compute


def _host_s(run: EngineResult, costs: StepCosts) -> float:
    return float(np.dot(run.steps_by_sequences, costs.host_ns[: len(run.steps_by_sequences)])) / 1e9



