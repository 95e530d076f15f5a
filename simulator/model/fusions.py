"""Neighbouring operators that an engine runs as one kernel: quantisation in what comes before a GEMM, norms in all-reduces."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from simulator.design.engine_defaults.fusions import Fused
from simulator.model.operators import Gemm, NamedOperator

# Whose inputs the operator before writes in their own format, by the site of a fusion
_AFTER = {"norm_quant": ("qkv", "gate_up", "up", "latents", "queries", "state_projections", "shared_gate_up", "shared_up"),
          "act_quant": ("down", "shared_down"), "attention_output_quant": ("output",)}
_AFTER["allreduce_norm_quant"] = _AFTER["norm_quant"]
NORMS = ("attention_norm", "mlp_norm", "final_norm")


def with_fused_quantisation(operators: Collection[NamedOperator], fused: Fused) -> list[NamedOperator]:
    """`operators`, the GEMMs marked whose inputs come quantised."""
    names = {name for site in fused.quantised for name in _AFTER.get(site, ())}
    return [replace(op, operator=replace(op.operator, quantised=True))
            if isinstance(op.operator, Gemm) and op.operator.activation_bits < 16 and op.name.partition(".")[0] in names else op
            for op in operators]
