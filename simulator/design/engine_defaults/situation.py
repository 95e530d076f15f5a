"""What the rules of an engine record may ask about a design, and which rule holds."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.design.design import Design
from simulator.design.records.engine import EngineRecord, IntRules, When, bound_holds
from simulator.design.records.hardware import Hardware
from simulator.design.records.layers import BesideAttention, LatentAttention, StateAttention
from simulator.design.records.memory import GIB
from simulator.inputs.errors import InputError

# Compute capability x 10 of devices by a part of their name (NVIDIA, "CUDA GPUs": compute capability); the first that is in
# the name counts. Engines ask the driver; a device that is not listed meets no rule about `sm`.
CAPABILITIES = {"gb300": 103, "b300": 103, "gb200": 100, "b200": 100, "gh200": 90, "h200": 90, "h100": 90, "h20": 90, "h800": 90,
                "rtx-pro-6000": 120, "5090": 120, "l40s": 89, "4090": 89, "l4": 89, "a6000": 86, "a10g": 86, "3090": 86,
                "a100": 80, "v100": 70, "t4": 75}


@dataclass(frozen=True)
class Situation:
    """Facts that rules test. `memory_gib`: of one device, as the driver reports it; `longest`: max_model_len in tokens."""

    name: str
    memory_gib: float
    sm: int | None = None
    context: str = "server"
    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert_parallel: bool = False
    all2all: str = ""
    drafter: str | None = None
    drafts: int = 0  # draft tokens of a sequence and step
    hybrid: bool = False
    latent: bool = False
    longest: int = 131072


def capability(name: str) -> int | None:
    """Compute capability x 10 of a device by its name; None where it is not known."""
    lower = name.lower().replace(" ", "-")
    return next((sm for part, sm in CAPABILITIES.items() if part in lower), None)


def memory_gib(hardware: Hardware) -> float:
    """GiB of one device's own memory."""
    return hardware.memory.total_bytes / GIB


def situation_of(design: Design, record: EngineRecord) -> Situation:
    """The facts of a design."""
    wanted, parallelism = design.serving.max_model_len, design.parallelism
    attentions = [kind.attention for kind in design.model.layer_types or ()]
    return Situation(
        name=design.hardware.name.lower(), memory_gib=memory_gib(design.hardware), sm=capability(design.hardware.name),
        context=record.context, tensor=parallelism.tensor, pipeline=parallelism.pipeline,
        expert_parallel=parallelism.expert_parallel, all2all=record.experts.all2all,
        hybrid=any(isinstance(attention, StateAttention | BesideAttention) for attention in attentions),
        latent=any(isinstance(attention, LatentAttention) for attention in attentions),
        longest=design.model.max_positions if wanted == "auto" else wanted)


def holds(when: When, of: Situation) -> bool:
    """Whether every condition holds."""
    bounds = ((when.memory, of.memory_gib), (when.tensor, of.tensor), (when.pipeline, of.pipeline), (when.data, of.data))
    equal = ((when.context, of.context), (when.expert_parallel, of.expert_parallel), (when.hybrid, of.hybrid),
             (when.latent, of.latent), (when.speculation, of.drafter is not None))
    return (all(bound is None or bound_holds(bound, value) for bound, value in bounds)
            and all(wanted is None or wanted == value for wanted, value in equal)
            and (when.name_has is None or when.name_has in of.name)
            and (when.name_lacks is None or when.name_lacks not in of.name)
            and (when.sm is None or of.sm in when.sm)
            and (when.all2all is None or of.all2all in when.all2all))


def first(rules: IntRules, of: Situation, key: str) -> int:
    """The value of the first rule that holds. Raises InputError where none does."""
    for rule in rules:
        if holds(rule.when, of):
            return rule.value * (of.tensor * of.pipeline if rule.per_device else 1)
    raise InputError(f"no rule covers '{of.name}' ({of.memory_gib:.1f} GiB, {of.context}): add one without 'when'",
                     key=f"engine.{key}")
