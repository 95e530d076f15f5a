"""Where each operator of a finished run stands under the roofline (Williams et al., CACM 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.design.design import Design
from simulator.devices.build import build
from simulator.devices.peaks import peaks, roofline_s, work
from simulator.devices.pim import PimDevice
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
    found = []
    for op in sorted(result.operators, key=lambda row: -row.seconds):
        if op.seconds <= 0:
            continue
        intensity = compute = memory = link = floor = None
        if op.name in named:
            operator = named[op.name].operator
            runs = [replica.run for replica in result.replicas]
            flops, moved, bits = _totals(named[op.name], runs)
            floor = _least_s(design, named[op.name], runs, flops, moved, bits) / op.seconds
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


def _totals(named: NamedOperator, runs: Sequence[EngineResult]) -> tuple[float, float, int]:
    """(FLOP, least bytes, bits of the matrix operands) over whole runs, on one rank."""
    operator, flops, moved, bits = named.operator, 0.0, 0.0, 16
    for run in runs:
        if isinstance(operator, DecodeAttention):  # both are proportional to the tokens of context read
            f, b, bits = work(operator, np.ones(1), np.array([float(run.decode_context_tokens)]))
            flops, moved = flops + float(f[0]), moved + float(b[0])
        elif isinstance(operator, PrefillAttention):
            _, b, bits = work(operator, np.array([float(run.prefill_tokens)]), np.array([float(run.prefill_context_tokens)]))
            flops += 4.0 * operator.heads * operator.head_dim * run.prefill_pairs
            moved += float(b[0])
        else:
            histogram = run.steps_by_sequences if named.part == "head" else run.steps_by_tokens
            rows = np.flatnonzero(histogram)
            rows = rows[rows > 0]
            f, b, bits = work(operator, rows.astype(float))
            flops, moved = flops + float(f @ histogram[rows]), moved + float(b @ histogram[rows])
    return flops * named.repeats, moved * named.repeats, bits


def _least_s(design: Design, named: NamedOperator, runs: Sequence[EngineResult], flops: float, moved: float,
             bits: int) -> float:
    """Seconds below which the ceilings let no step run the operator, summed over steps (attention: over the whole run)."""
    operator = named.operator
    if isinstance(operator, DecodeAttention):
        pim = build(design.hardware, design.parallelism).decode
        if isinstance(pim, PimDevice):
            tokens = float(sum(run.decode_context_tokens for run in runs))
            return float(pim.roofline_s(operator, np.array(1.0), np.array(tokens))) * named.repeats
    if isinstance(operator, PrefillAttention | DecodeAttention):
        top = peaks(design.hardware)
        return max(flops / top.matrix_flops(bits), moved / top.memory_bytes_per_s)
    total_s = 0.0
    for run in runs:
        histogram = run.steps_by_sequences if named.part == "head" else run.steps_by_tokens
        rows = np.flatnonzero(histogram)
        rows = rows[rows > 0]
        total_s += float(roofline_s(design.hardware, operator, rows.astype(float)) @ histogram[rows])
    return total_s * named.repeats
