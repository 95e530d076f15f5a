"""The priced design: the times of its operators, the step tables that follow, its scheduler limits and its bill.

What does not depend on how a design is served (operators, devices, their curves, the bill) is worked out once for all
designs of a cost cache that share it: in a sweep, neighbours often differ in their batch limits alone.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.design.design import Design
from simulator.design.engine_defaults.fusions import Fused, fused_by
from simulator.design.engine_defaults.graphs import GraphCover
from simulator.design.engine_defaults.host import host_of
from simulator.devices.build import Devices, build
from simulator.devices.device import Device
from simulator.devices.measured import parquet
from simulator.devices.measured.attention import AttentionExtras
from simulator.devices.measured.bind import attention_extras, measured_devices
from simulator.devices.measured.table import OperatorTable, at_speed
from simulator.model import precision
from simulator.model.fusions import NORMS, with_fused_quantisation
from simulator.model.layers import operators
from simulator.model.operators import Collective, DecodeAttention, NamedOperator, PrefillAttention, Vector
from simulator.model.sharding import stage_layers
from simulator.pricing import grids, kv_memory, step_tables, swap
from simulator.pricing.attention_launch import split_off_launch
from simulator.pricing.cache import CostCache
from simulator.pricing.cuda_graphs import cover_of
from simulator.pricing.curves import Curve, RowCurves, price_all, row_curves
from simulator.pricing.idle_gaps import kernel_gaps
from simulator.pricing.kv_memory import KvMemory
from simulator.pricing.step import StepCosts
from simulator.pricing.step_tables import Int64, Sums
from simulator.scheduler.config import SchedulerConfig
from simulator.silicon.money import Bill, bill
from simulator.workload.trace import MAX_TOKENS


@dataclass(frozen=True)
class OperatorPrices:
    """What designs share that agree in model, precision, hardware, parallelism and the reach of the grids."""

    curves: list[Curve]
    by_tokens: RowCurves  # of `curves`, those whose rows are the tokens of a step
    by_sequences: RowCurves
    device_names: list[str]  # of each curve: device | pim | link
    sums: Sums
    extras: AttentionExtras | None
    channels: tuple[int, float, float] | None
    bill: Bill
    gathered_ns: Int64 | None  # experts shared by several engines, [rows of all of them + 1]; None: an engine has its own


@dataclass(frozen=True)
class PricedDesign:
    """A design made ready to run: its tables, its limits, its price."""

    costs: StepCosts
    scheduler: SchedulerConfig
    prices: OperatorPrices
    kv_memory: KvMemory

    @property
    def curves(self) -> list[Curve]:
        return self.prices.curves

    @property
    def device_names(self) -> list[str]:
        return self.prices.device_names

    @property
    def bill(self) -> Bill:
        return self.prices.bill


def price(design: Design, cache: CostCache, table: OperatorTable | None = None, data: int = 1, *,
          memory: KvMemory | None = None) -> PricedDesign:
    """Prices every operator of the design and derives the step tables and scheduler limits.

    For designs that are known to be legal; `simulator.prepare` checks first. table: measured operators, in place of the
    file that `hardware.tables` names. data: engines that share one set of experts: the step tables then leave those out, and
    `prices.gathered_ns` has them (see `engine.lockstep`). memory: the design's, where it was predicted already.
    """
    arch, hardware, parallelism, serving = design.model, design.hardware, design.parallelism, design.serving
    graphs = cover_of(design)
    if table is None and hardware.tables is None and data == 1:
        rows, sequences = serving.max_num_batched_tokens, serving.max_num_seqs
        reach = (len(grids.row_knots(rows)), len(grids.row_knots(max(rows, sequences))), len(grids.batch_knots(sequences)))
        prices = cache.shared((arch, design.precision, hardware, parallelism, design.costs), (*reach, fused_by(design)),
                              lambda: _operator_prices(design, cache, None, graphs))
    else:  # gaps between kernels and mixed batches depend on the limits as well
        prices = _operator_prices(design, cache, table, graphs, data)
    memory = memory or kv_memory.memory_of(design, data)
    costs = step_tables.step_costs(prices.sums, hardware, stage_layers(arch.layers, parallelism.pipeline), host_of(design),
                                   serving.max_num_batched_tokens, serving.max_num_seqs, prices.channels, extras=prices.extras,
                                   graphs=graphs,
                                   swap_block_s=swap.block_s(arch, design.precision, hardware, parallelism, serving))
    return PricedDesign(costs, _scheduler(design, memory), prices, memory)


def _operator_prices(design: Design, cache: CostCache, table: OperatorTable | None, graphs: GraphCover,
                     data: int = 1) -> OperatorPrices:
    arch, hardware, parallelism, serving = design.model, design.hardware, design.parallelism, design.serving
    max_tokens, max_sequences = serving.max_num_batched_tokens * data, serving.max_num_seqs
    devices = build(hardware, parallelism)
    fused = fused_by(design)
    ops = with_fused_quantisation(
        operators(arch, precision.on(design.precision, hardware), parallelism.tensor, parallelism.pipeline,
                  expert_parallel=parallelism.expert_parallel, data=data), fused)
    if table is None and hardware.tables is not None:
        table = parquet.read_for_degree(Path(hardware.tables), parallelism.tensor)
    if table is not None:
        table = at_speed(table, hardware.kernel_time)
        devices = measured_devices(devices, table, ops)
    curves = price_all(ops, functools.partial(_device_of, devices), cache, max_tokens, max_sequences)
    if table is None:
        curves = [_inside_all_reduce(curve, fused) for curve in curves]
    extras = attention_extras(devices.decode, ops, max_sequences, grids.context_knots())
    launch_s = devices.attention_launch_s if extras is None else extras.launch_s
    curves = split_off_launch(curves, _sharing_launch(ops), launch_s, max_tokens)
    if table is not None:
        curves += kernel_gaps(ops, table, graphs, grids.row_knots(max_tokens))
    decodes = [op.operator for op in ops if isinstance(op.operator, DecodeAttention)]
    channels = None  # layers that differ have no one line per channel: their table at the mean context serves
    if devices.channel_costs is not None and arch.layer_types is None:
        channels = devices.channel_costs(decodes[0])
    beside = None
    if devices.beside_pim is not None and hardware.pim.sub_batches != "never":
        slowed = dataclasses.replace(devices, compute=devices.beside_pim)
        blocks = [op for op in ops if op.part in ("before", "after")]
        beside = [*price_all(blocks, functools.partial(_device_of, slowed), cache, max_tokens, max_sequences),
                  *(curve for curve in curves if curve.name == "attention_launch")]
    names = ["link" if isinstance(op.operator, Collective)
             else "pim" if isinstance(op.operator, DecodeAttention) and hardware.attention_on_pim else "device" for op in ops]
    names += ["device"] * (len(curves) - len(names))
    rows = grids.row_knots(max(max_tokens, max_sequences))
    gathered = None if data == 1 else step_tables.dense_ns(curves, "gathered", rows, max_tokens)
    return OperatorPrices(curves, row_curves(curves, ("embed", "before", "after", "send")), row_curves(curves, ("head",)),
                          names, step_tables.sums(curves, rows, beside), extras, channels,
                          bill(hardware, design.costs), gathered)


def _scheduler(design: Design, memory: KvMemory) -> SchedulerConfig:
    serving, record = design.serving, design.engine
    own: dict[str, Any] = {}  # of two engines' schedulers, where the record says it
    if record is not None:
        said = {"max_prefill_tokens": record.limits.max_prefill_tokens, "sglang": record.scheduler.sglang,
                "tensorrt_llm": record.scheduler.trtllm}
        own = {name: value for name, value in said.items() if value is not None}
    return SchedulerConfig(
        max_num_seqs=serving.max_num_seqs, max_num_batched_tokens=serving.max_num_batched_tokens,
        block_size=serving.block_size, num_gpu_blocks=kv_memory.pool_blocks(design, memory),
        max_model_len=min(kv_memory.longest_sequence(design, memory), 2 * MAX_TOKENS),  # no request is longer
        enable_chunked_prefill=serving.enable_chunked_prefill, enable_prefix_caching=serving.enable_prefix_caching,
        long_prefill_token_threshold=serving.long_prefill_token_threshold, policy=serving.policy,
        async_scheduling=serving.async_scheduling, preemption=serving.preemption,
        pipeline_parallel_size=design.parallelism.pipeline,
        scheduler_reserve_full_isl=serving.scheduler_reserve_full_isl, watermark=serving.watermark, scheduler=serving.scheduler,
        **own)


def _inside_all_reduce(curve: Curve, fused: Fused) -> Curve:
    """A norm that costs nothing of its own in steps of so few rows that the all-reduce before it holds it."""
    if curve.name.partition(".")[0] not in NORMS or not fused.norm_rows:
        return curve
    knots = grids.knots_of_size(grids.row_knots, 16384, len(curve.seconds))
    return dataclasses.replace(curve, seconds=np.where(knots <= fused.norm_rows, 0.0, curve.seconds))


def _sharing_launch(ops: list[NamedOperator]) -> set[str]:
    """Attention operators whose prompts and decodes run in one launch."""
    return {op.name for op in ops if isinstance(op.operator, PrefillAttention | DecodeAttention)
            and op.operator.kind in ("full", "window")}


def _device_of(devices: Devices, named: NamedOperator) -> Device:
    if isinstance(named.operator, Collective):
        return devices.link
    if isinstance(named.operator, PrefillAttention):
        return devices.prefill
    if isinstance(named.operator, DecodeAttention):
        return devices.decode
    if isinstance(named.operator, Vector):
        return getattr(devices.compute, "vector_unit", devices.compute)
    return devices.compute
