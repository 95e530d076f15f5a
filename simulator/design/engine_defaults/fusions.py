"""What a design's engine fuses, on its device and at its tensor-parallel degree."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from simulator.design.design import Design
from simulator.design.engine_defaults.situation import capability


@dataclass(frozen=True)
class Fused:
    """What is fused. quantised: sites whose quantisation costs nothing of its own. norm_rows: rows of a step up to which norms
    are part of the all-reduce before them (0: never)."""

    quantised: tuple[str, ...] = ()
    norm_rows: float = 0.0


def fused_by(design: Design) -> Fused:
    """By the engine's record; nothing without an engine, or on a device without CUDA kernels."""
    if design.engine is None or design.hardware.gpu is None:
        return Fused()
    sm, tensor = capability(design.hardware.name), design.parallelism.tensor
    quantised, rows = [], 0.0
    for fusion in design.engine.fusions:
        if fusion.sm is not None and sm not in fusion.sm:
            continue
        if fusion.site in ("norm_quant", "act_quant", "attention_output_quant", "allreduce_norm_quant"):
            quantised.append(fusion.site)
        if fusion.site.startswith("allreduce_norm") and tensor > 1 and fusion.models == "all":
            most = fusion.most_tokens(tensor, design.model.hidden)
            rows = max(rows, inf if most is None else float(most))
    return Fused(tuple(quantised), rows)
