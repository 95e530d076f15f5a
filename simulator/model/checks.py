"""Checks that a model can be sharded as a design asks; the reasons are shown to the user."""

from __future__ import annotations

from simulator.design.records.model import Architecture


def split_violations(arch: Architecture, tensor: int, pipeline: int, expert_parallel: bool = False) -> list[str]:
    """Why `arch` cannot be cut into `tensor` x `pipeline` ranks, one sentence each; empty when it can."""
    reasons = []
    if arch.heads % tensor:
        reasons.append(f"{arch.heads} attention heads do not divide over tensor parallel {tensor}")
    if arch.kv_heads % tensor and tensor % arch.kv_heads:
        reasons.append(f"{arch.kv_heads} KV heads neither divide over nor replicate to tensor parallel {tensor}")
    for width, what in ((arch.expert_intermediate, "expert"), (arch.shared_intermediate, "shared expert")):
        if width % tensor and not (expert_parallel and what == "expert"):
            reasons.append(f"{what} width {width} does not divide over tensor parallel {tensor}")
    if expert_parallel and not arch.experts:
        reasons.append("expert_parallel needs a mixture of experts")
    if expert_parallel and arch.experts % tensor:
        reasons.append(f"{arch.experts} experts do not divide over tensor parallel {tensor}")
    if arch.intermediate % tensor and arch.expert_layers < arch.layers:
        reasons.append(f"MLP width {arch.intermediate} does not divide over tensor parallel {tensor}")
    if pipeline > arch.layers:
        reasons.append(f"{arch.layers} layers cannot fill {pipeline} pipeline stages")
    return reasons
