"""Where each operator of a finished run stands under the roofline (Williams et al., CACM 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.design.design import Design
from simulator.devices.build import build
from simulator.devices.pim import PimDevice
from simulator.devices.roofline import Peaks, attention_work, least_s, peaks, work
from simulator.engine.result import EngineResult
from simulator.model import precision
from simulator.model.layers import operators
from simulator.model.operators import Collective, DecodeAttention, NamedOperator, PrefillAttention, Vector
from simulator.result import Result


@dataclass(frozen=True)
class Position:
    """One operator over a whole run, on one rank. Shares are of the device's ceilings: None where it has none, or where
    the operator runs elsewhere (PIM has a memory bandwidth of its own)."""

    name: str
    device: str  # device | pim | link | host
    seconds: float
    share: float  # of all busy time
    bound_s: dict[str, float]
    flops_per_byte: float | None  # useful FLOP over the least bytes
    compute_share: float | None  # of the peak of the unit that it runs on
    memory_share: float | None  # of the bandwidth at the pins
    link_share: float | None  # of the link's bandwidth
    roofline_share: float | None = None  # least time that the ceilings allow over the time taken; PIM: its MAC commands' rate


def positions(design: Design, result: Result) -> list[Position]:
    """Every operator that took time, longest first."""
    p = design.parallelism
    named = {op.name: op for op in operators(design.model, precision.on(design.precision, design.hardware), p.tensor, p.pipeline,
                                             expert_parallel=p.expert_parallel)}
    total_s = sum(op.seconds for op in result.operators) or 1.0
    top = peaks(design.hardware)
    runs = [replica.run for replica in result.replicas]
    found = []
    for op in sorted(result.operators, key=lambda row: -row.seconds):
        if op.seconds <= 0:
            continue
        intensity = compute = memory = link = floor = None
        if op.name in named:
            operator = named[op.name].operator
            flops, moved, bits, least = _totals(named[op.name], runs, top)
            pim_s = _pim_s(design, named[op.name], runs)
            floor = (least if pim_s is None else pim_s) / op.seconds
            if isinstance(operator, Collective):
                link = moved / op.seconds / top.link_bytes_per_s
            else:
                intensity = flops / moved if moved else None
                ceiling = top.vector_ops if isinstance(operator, Vector) else top.matrix_flops(bits)
                if op.device == "device":
                    compute = flops / op.seconds / ceiling if ceiling else None
                    memory = moved / op.seconds / top.memory_bytes_per_s
        found.append(Position(op.name, op.device, op.seconds, op.seconds / total_s, op.by_bound_s, intensity, compute,
                              memory, link, floor))
    return found


def _totals(named: NamedOperator, runs: Sequence[EngineResult], top: Peaks) -> tuple[float, float, int, float]:
    """(FLOP, least bytes, bits of the matrix operands, least seconds) of an operator over whole runs on one rank.

    The least seconds are those that the ceilings allow, summed over steps; of attention, over the whole run.
    """
    operator, repeats = named.operator, named.repeats
    if isinstance(operator, DecodeAttention | PrefillAttention):
        pairs = read = float(sum(run.decode_context_tokens for run in runs)) * repeats
        if isinstance(operator, PrefillAttention):
            pairs = float(sum(run.prefill_pairs for run in runs)) * repeats
            read = float(sum(run.prefill_context_tokens + run.prefill_tokens for run in runs)) * repeats
        done = attention_work(operator, pairs, read, 0.0)
        return done.flops, done.least_bytes, done.bits, least_s(operator, done, top)
    flops, moved, bits, least = 0.0, 0.0, 16, 0.0
    for run in runs:
        histogram = run.steps_by_sequences if named.part == "head" else run.steps_by_tokens
        rows = np.flatnonzero(histogram)
        rows = rows[rows > 0]
        steps, each = histogram[rows], work(operator, rows.astype(float))
        flops, moved = flops + float(each.flops @ steps), moved + float(each.least_bytes @ steps)
        bits, least = each.bits, least + float(least_s(operator, each, top) @ steps)
    return flops * repeats, moved * repeats, bits, least * repeats


def _pim_s(design: Design, named: NamedOperator, runs: Sequence[EngineResult]) -> float | None:
    """The least time of decode attention in PIM; None for what runs elsewhere."""
    if not isinstance(named.operator, DecodeAttention):
        return None
    pim = build(design.hardware, design.parallelism).decode
    if not isinstance(pim, PimDevice):
        return None
    tokens = float(sum(run.decode_context_tokens for run in runs))
    return float(pim.roofline_s(named.operator, np.array(1.0), np.array(tokens))) * named.repeats
