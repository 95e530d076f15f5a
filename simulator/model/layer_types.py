"""A model as a list of layer types with counts, whichever way its record is written."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from simulator.design.records.layers import (
    BesideAttention,
    BlockSparseAttention,
    CompressedAttention,
    DenseMlp,
    ExpertsMlp,
    LatentAttention,
    LayerType,
    SoftmaxAttention,
    StateAttention,
)
from simulator.design.records.model import Architecture

_STATE_NAMES = {"mamba": "Mamba", "mamba2": "Mamba-2", "gated_delta_net": "gated delta net", "kda": "Kimi delta attention",
                "lightning": "lightning attention", "short_conv": "short convolutions"}


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


def untimed(arch: Architecture) -> list[str]:
    """What of a model no device has operators for yet, in words of the field; empty where all of it can be timed."""
    if arch.layer_types is None:
        return []
    found: dict[str, None] = {}
    for kind in arch.layer_types:
        for name in _unusual(kind):
            found[name] = None
    return list(found) or ["layers that differ in their attention or MLP"]


def _unusual(kind: LayerType) -> list[str]:
    names = []
    match kind.attention:
        case SoftmaxAttention(kind="window"):
            names.append("sliding-window attention")
        case SoftmaxAttention(kind="chunk"):
            names.append("chunked attention")
        case SoftmaxAttention() as attention:
            if attention.output_gate:
                names.append("attention with an output gate")
            if attention.keys_are_values or attention.shares_kv or attention.value_dim not in (None, attention.head_dim):
                names.append("keys and values of different shapes")
        case LatentAttention(indexer=None):
            names.append("latent attention (MLA)")
        case LatentAttention():
            names.append("sparse latent attention (indexer and top-k)")
        case CompressedAttention():
            names.append("compressed attention (DeepSeek-V4)")
        case BlockSparseAttention():
            names.append("block-sparse attention (indexer and top blocks)")
        case StateAttention(kind=state):
            names.append(f"state layers ({_STATE_NAMES[state]})")
        case BesideAttention(state=state):
            names.append(f"state layers ({_STATE_NAMES[state.kind]})")
    if isinstance(kind.mlp, ExpertsMlp) and (kind.mlp.latent or kind.mlp.dense_width):
        names.append("experts on a latent stream" if kind.mlp.latent else "a dense MLP beside the experts")
    return names
