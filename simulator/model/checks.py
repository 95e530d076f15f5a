"""Whether a model can be cut as a design asks; the reasons are shown to the user."""

from __future__ import annotations

from simulator.schema.model import Architecture


def violations(arch: Architecture, tensor: int, pipeline: int) -> list[str]:
    """Why `arch` cannot be cut into `tensor` x `pipeline` ranks, one sentence each; empty when it can."""
    reasons = []
    if arch.heads % tensor:
        reasons.append(f"{arch.heads} attention heads do not divide over tensor parallel {tensor}")
    if arch.kv_heads % tensor and tensor % arch.kv_heads:
        reasons.append(f"{arch.kv_heads} KV heads neither divide over nor replicate to tensor parallel {tensor}")
    if arch.intermediate % tensor:
        reasons.append(f"MLP width {arch.intermediate} does not divide over tensor parallel {tensor}")
    if pipeline > arch.layers:
        reasons.append(f"{arch.layers} layers cannot fill {pipeline} pipeline stages")
    return reasons
