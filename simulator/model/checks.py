"""Checks that a model can be sharded as a design asks; the reasons are shown to the user."""

from __future__ import annotations

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


def split_violations(arch: Architecture, tensor: int, pipeline: int, expert_parallel: bool = False) -> list[str]:
    """Why `arch` cannot be cut into `tensor` x `pipeline` ranks, one sentence each; empty when it can."""
    if arch.layer_types is not None:
        return _layered(arch, arch.layer_types, tensor, pipeline, expert_parallel)
    reasons = _heads(arch.heads, arch.kv_heads, tensor)
    for width, what in ((arch.expert_intermediate, "expert"), (arch.shared_intermediate, "shared expert")):
        if width % tensor and not (expert_parallel and what == "expert"):
            reasons.append(f"{what} width {width} does not divide over tensor parallel {tensor}")
    if expert_parallel and not arch.experts:
        reasons.append("expert_parallel needs a mixture of experts")
    if expert_parallel and arch.experts % tensor:
        reasons.append(f"{arch.experts} experts do not divide over tensor parallel {tensor}")
    if arch.intermediate % tensor and arch.expert_layers < arch.layers:
        reasons.append(f"MLP width {arch.intermediate} does not divide over tensor parallel {tensor}")
    return reasons + _stages(arch, pipeline)


def _layered(arch: Architecture, kinds: tuple[LayerType, ...], tensor: int, pipeline: int, expert_parallel: bool) -> list[str]:
    reasons: list[str] = []
    for kind in kinds:
        match kind.attention:
            case SoftmaxAttention(heads=heads, kv_heads=kv) | BlockSparseAttention(heads=heads, kv_heads=kv):
                reasons += _heads(heads, kv, tensor)
            case BesideAttention(attention=beside, state=state):
                reasons += _heads(beside.heads, beside.kv_heads, tensor) + _heads(state.heads, state.heads, tensor)
            case LatentAttention(heads=heads) | CompressedAttention(heads=heads) | StateAttention(heads=heads):
                reasons += _heads(heads, heads, tensor)
        match kind.mlp:
            case DenseMlp(width=width) if width % tensor:
                reasons.append(f"MLP width {width} does not divide over tensor parallel {tensor}")
            case ExpertsMlp(experts=experts, width=width, shared_width=shared):
                if width % tensor and not expert_parallel:
                    reasons.append(f"expert width {width} does not divide over tensor parallel {tensor}")
                if shared % tensor:
                    reasons.append(f"shared expert width {shared} does not divide over tensor parallel {tensor}")
                if expert_parallel and experts % tensor:
                    reasons.append(f"{experts} experts do not divide over tensor parallel {tensor}")
    if expert_parallel and not any(isinstance(kind.mlp, ExpertsMlp) for kind in kinds):
        reasons.append("expert_parallel needs a mixture of experts")
    return list(dict.fromkeys(reasons)) + _stages(arch, pipeline)


def _heads(heads: int, kv_heads: int, tensor: int) -> list[str]:
    reasons = []
    if heads % tensor:
        reasons.append(f"{heads} attention heads do not divide over tensor parallel {tensor}")
    if kv_heads % tensor and tensor % kv_heads:
        reasons.append(f"{kv_heads} KV heads neither divide over nor replicate to tensor parallel {tensor}")
    return reasons


def _stages(arch: Architecture, pipeline: int) -> list[str]:
    return [f"{arch.layers} layers cannot fill {pipeline} pipeline stages"] if pipeline > arch.layers else []
