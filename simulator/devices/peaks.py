"""The ceilings of a piece of hardware, and what an operator needs at least: the roofline (Williams et al., CACM 2009)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.hardware import Hardware
from simulator.devices import dram
from simulator.devices.experts import awake
from simulator.model.operators import Collective, DecodeAttention, Gemm, GroupedGemm, Operator, PrefillAttention, Vector

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Peaks:
    """Rates of one device that nothing can exceed. Matrix rates count a multiply and an add as 2 FLOP."""

    matrix_16bit_flops: float
    matrix_8bit_flops: float
    vector_ops: float | None  # operations per second; None where the model does not bound them
    memory_bytes_per_s: float  # at the pins
    stream_bytes_per_s: float  # what long streams reach
    link_bytes_per_s: float  # per direction

    def matrix_flops(self, bits: int) -> float:
        return self.matrix_8bit_flops if bits <= 8 else self.matrix_16bit_flops


def peaks(hardware: Hardware) -> Peaks:
    """The ceilings of one device, whatever its power limit."""
    pins, link = dram.peak_bandwidth_bytes_per_s(hardware.memory), hardware.link.bandwidth_bytes_per_s
    if hardware.npu is not None:
        npu = hardware.npu
        macs_per_s = npu.array[0] * npu.array[1] * npu.arrays * npu.clock_hz
        return Peaks(2 * macs_per_s, 2 * macs_per_s * npu.macs_8bit,
                     npu.vector_lanes * npu.clock_hz, pins, dram.bandwidth_bytes_per_s(hardware.memory), link)
    if hardware.device is not None:
        own = hardware.device
        return Peaks(own.peak_bf16, max(own.peak_8bit or 0.0, own.peak_bf16), None, pins,
                     dram.bandwidth_bytes_per_s(hardware.memory), link)
    gpu = hardware.gpu
    assert gpu is not None
    return Peaks(gpu.peak_bf16, max(gpu.peak_fp8 or 0.0, gpu.peak_int8 or 0.0, gpu.peak_bf16), None, pins,
                 pins * gpu.memory_efficiency, link)


def work(operator: Operator, *axes: Float64) -> tuple[Float64, Float64, int]:
    """(FLOP, least bytes moved, bits of the wider matrix operand) of an operator at every shape.

    Least bytes: every operand once; of a collective, what each rank must send (all-reduce 2 (n-1)/n, all-gather,
    reduce-scatter and all-to-all (n-1)/n).
    """
    if isinstance(operator, Gemm):
        (m,) = axes
        moved = (m * operator.k * operator.activation_bits + operator.n * operator.k * operator.weight_bits
                 + m * operator.n * 16) / 8
        return 2.0 * m * operator.n * operator.k, moved, max(operator.weight_bits, operator.activation_bits)
    if isinstance(operator, GroupedGemm):
        (m,) = axes
        visits = m * (operator.per_token * operator.experts / operator.of)
        moved = (visits * operator.k * operator.activation_bits + visits * operator.n * 16
                 + awake(operator, m) * (operator.n * operator.k * operator.weight_bits)) / 8
        return 2.0 * visits * operator.n * operator.k, moved, max(operator.weight_bits, operator.activation_bits)
    if isinstance(operator, Vector):
        (m,) = axes
        operations = m * operator.width * (operator.flops_per_element + operator.exps_per_element)
        return operations, m * (operator.read_bytes_per_row + operator.write_bytes_per_row), 16
    if isinstance(operator, Collective):
        (m,) = axes
        once = (operator.ranks - 1) / operator.ranks
        share = {"all_reduce": 2 * once, "p2p": 1.0}.get(operator.kind, once)
        return np.zeros_like(m), m * operator.bytes_per_row * share, 16
    pairs, tokens = _pairs(operator, *axes)
    bits = max(operator.kv_bits, operator.activation_bits)
    moved = 2 * operator.kv_heads * operator.head_dim * operator.kv_bits / 8 * tokens
    return 4.0 * operator.heads * operator.head_dim * pairs, moved, bits


def roofline_s(hardware: Hardware, operator: Operator, *axes: Float64) -> Float64:
    """Seconds below which `operator` cannot run on one device, at every shape."""
    flops, moved, bits = work(operator, *axes)
    top = peaks(hardware)
    if isinstance(operator, Collective):
        return moved / top.link_bytes_per_s
    memory_s = moved / top.memory_bytes_per_s
    if isinstance(operator, Vector):
        return memory_s if top.vector_ops is None else np.maximum(memory_s, flops / top.vector_ops)
    return np.maximum(memory_s, flops / top.matrix_flops(bits))


def _pairs(operator: PrefillAttention | DecodeAttention, *axes: Float64) -> tuple[Float64, Float64]:
    """(query-key pairs per head, tokens of K and V read)."""
    if isinstance(operator, PrefillAttention):
        chunk, context = axes
        return chunk * context + chunk * (chunk + 1) / 2, context + chunk
    sequences, context = axes
    return sequences * context, sequences * context
