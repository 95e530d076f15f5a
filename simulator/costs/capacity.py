"""How many KV blocks fit: predicted from memory, weights, activation peak and the utilisation limit."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.hardware.dram import capacity_bytes, stack_capacity_bytes
from simulator.model.memory import activation_bytes, kv_bytes_per_token, weight_bytes
from simulator.model.sharding import stage_layers
from simulator.schema.hardware import Hardware
from simulator.schema.model import Architecture, Precision
from simulator.schema.serving import Parallelism, Serving


@dataclass(frozen=True)
class Capacity:
    """Bytes of one device of the fullest pipeline stage, and the KV blocks of a replica."""

    memory_bytes: float  # what the utilisation limit leaves of the device's memory
    weight_bytes: float
    activation_bytes: float
    kv_bytes: float  # room for KV: the rest of the device's memory, or the PIM stacks
    kv_block_bytes: float  # one block on one rank, layers of the fullest stage
    num_gpu_blocks: int  # as vLLM counts them (the null block included); <= 1 where nothing fits


def predict(arch: Architecture, precision: Precision, hardware: Hardware, parallelism: Parallelism,
            serving: Serving) -> Capacity:
    """The memory of a design. With PIM the KV cache lives in the PIM stacks, else beside the weights."""
    layers = stage_layers(arch.layers, parallelism.pipeline)
    memory = capacity_bytes(hardware.memory) * serving.memory_utilization
    activation = activation_bytes(arch, parallelism.tensor, serving.max_num_batched_tokens, serving.max_num_seqs)
    worst: Capacity | None = None
    weights_of = weight_bytes(arch, precision, parallelism.tensor, parallelism.pipeline)
    for count, weights in zip(layers, weights_of, strict=True):
        if hardware.pim.placement == "none":
            room = memory - weights - activation
        else:
            room = hardware.pim.stacks_per_npu * stack_capacity_bytes(hardware.pim.kind) * serving.memory_utilization
        block = kv_bytes_per_token(arch, precision, parallelism.tensor, count) * serving.block_size
        blocks = int(room // block) if room > 0 else 0
        if serving.num_gpu_blocks != "auto":
            blocks = serving.num_gpu_blocks
        found = Capacity(memory, weights, activation, room, block, blocks)
        fuller = worst is None or (blocks, -(weights + activation)) < (
            worst.num_gpu_blocks, -(worst.weight_bytes + worst.activation_bytes))
        worst = found if fuller else worst
    assert worst is not None
    return worst
