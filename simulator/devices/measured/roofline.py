"""The least time an operator can take: arithmetic over peak rate, or bytes that must come from DRAM over bandwidth.

Weights and the KV cache are read from DRAM at every step (a model is larger than any last-level cache, and every layer
evicts the one before). Activations pass from one operator to the next and may stay in the cache: they carry the shape
of `nominal` but do not bind `floor`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices.device import Bound
from simulator.model.operators import DecodeAttention, Gemm, GroupedGemm, Operator, PrefillAttention, Vector

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Peaks:
    """Datasheet peaks of one device."""

    flops_16bit: float  # FLOP/s, dense
    flops_8bit: float
    bytes_per_s: float
    cache_bytes: float  # last-level cache

    def flops_per_s(self, bits: int) -> float:
        return self.flops_8bit if bits <= 8 else self.flops_16bit


def work(operator: Operator, *axes: Float64) -> tuple[Float64, Float64, Float64]:
    """(multiply-add FLOPs, bytes of weights and KV, bytes of activations) at every shape."""
    if isinstance(operator, Gemm):
        rows = axes[0]
        weights = operator.n * operator.k * operator.weight_bits / 8
        streamed = rows * (operator.k * operator.activation_bits / 8 + 2 * operator.n)
        return 2.0 * rows * operator.n * operator.k, np.full(rows.shape, weights), streamed
    if isinstance(operator, Vector):
        moved = axes[0] * (operator.read_bytes_per_row + operator.write_bytes_per_row)
        return np.zeros(axes[0].shape), np.zeros(axes[0].shape), moved
    if isinstance(operator, PrefillAttention):
        chunk, context = np.broadcast_arrays(*axes)
        pairs, kv_tokens, queries = chunk * context + chunk * (chunk + 1) / 2, chunk + context, chunk
    elif isinstance(operator, DecodeAttention):
        queries, context = np.broadcast_arrays(*axes)
        pairs = kv_tokens = queries * context
    else:
        raise TypeError(f"no roofline for {type(operator).__name__}")
    kv = kv_tokens * (2 * operator.kv_heads * operator.head_dim * operator.kv_bits / 8)
    streamed = queries * (operator.heads * operator.head_dim * (operator.activation_bits / 8 + 2.0))
    return pairs * (4.0 * operator.heads * operator.head_dim), kv, streamed


def nominal(operator: Operator, peaks: Peaks, *axes: Float64) -> tuple[Float64, NDArray[np.int8]]:
    """Seconds on the roofline with every byte from DRAM, and what binds there (Bound)."""
    flops, resident, streamed = work(operator, *axes)
    compute = flops / peaks.flops_per_s(_bits(operator))
    memory = (resident + streamed) / peaks.bytes_per_s
    bound = np.where(compute > memory, int(Bound.COMPUTE), int(Bound.MEMORY)).astype(np.int8)
    return np.maximum(compute, memory), bound


def expert_block_s(closing: GroupedGemm, peaks: Peaks, tokens: Float64, awake: Float64) -> Float64:
    """Nominal seconds of a gated mixture of experts (three matrices an expert) that ends in the grouped GEMM `closing`."""
    matrices = 3.0 * closing.n * closing.k
    visits = tokens * (closing.per_token * closing.experts / closing.of)
    flops = 2.0 * visits * matrices / peaks.flops_per_s(max(closing.weight_bits, closing.activation_bits))
    moved = awake * matrices * closing.weight_bits / 8 + visits * (closing.n * closing.activation_bits / 8 + 2.0 * closing.n)
    return np.maximum(flops, moved / peaks.bytes_per_s)


def floor(operator: Operator, peaks: Peaks, *axes: Float64) -> Float64:
    """Seconds that no device with these peaks can beat: activations in cache as far as they fit."""
    flops, resident, streamed = work(operator, *axes)
    spilled = np.maximum(streamed - peaks.cache_bytes, 0.0)
    return np.maximum(flops / peaks.flops_per_s(_bits(operator)), (resident + spilled) / peaks.bytes_per_s)


def _bits(operator: Operator) -> int:
    if isinstance(operator, Gemm):
        return max(operator.weight_bits, operator.activation_bits)
    if isinstance(operator, PrefillAttention | DecodeAttention):
        return max(operator.kv_bits, operator.activation_bits)
    return 16
