"""A model as a list of layer types with counts, whichever way its record is written."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from simulator.design.records.layers import DenseMlp, ExpertsMlp, LayerType, SoftmaxAttention
from simulator.design.records.model import Architecture


@lru_cache(maxsize=512)
def in_order(arch: Architecture) -> tuple[LayerType, ...]:
    """The type of every layer, shape [layers]; one type occurs as one object."""
    if arch.layer_types is None or arch.order is None:
        dense, routed = _flat_types(arch)
        return (dense,) * (arch.layers - arch.expert_layers) + (routed,) * arch.expert_layers
    named = {kind.name: kind for kind in arch.layer_types}
    return tuple(named[name] for run in arch.order for name in run.types * run.repeat)


def counted(arch: Architecture) -> dict[LayerType, int]:
    """Layer types and how often they occur, in order of first appearance."""
    return dict(Counter(in_order(arch)))


def _flat_types(arch: Architecture) -> tuple[LayerType, LayerType]:
    """The dense and the routed layer of a model with flat keys; their vectors are counted in `simulator.model.parts`."""
    attention = SoftmaxAttention(kind="full", heads=arch.heads, kv_heads=arch.kv_heads, head_dim=arch.head_dim)
    gated = bool(arch.gated_mlp)
    dense = LayerType(name="dense", attention=attention, mlp=DenseMlp(width=arch.intermediate, gated=gated))
    if not arch.experts:
        return dense, dense
    mlp = ExpertsMlp(experts=arch.experts, per_token=arch.experts_per_token, width=arch.expert_intermediate, gated=gated,
                     shared_width=arch.shared_intermediate)
    return dense, LayerType(name="experts", attention=attention, mlp=mlp)

