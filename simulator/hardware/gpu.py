"""GPU by its datasheet: peaks times achievable shares, tiles quantised over SMs, a launch floor per kernel.

Nothing is fitted here: a GPU with measured operators is better priced from its tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.hardware import energy
from simulator.hardware.compose import fingerprint_of, priced
from simulator.hardware.priced import Bound, Priced
from simulator.hardware.traffic import OUTPUT_BYTES, gemm_bytes
from simulator.model.operators import DecodeAttention, Gemm, Operator, PrefillAttention, Vector

Float64 = NDArray[np.float64]

# Special function units and FP32 lanes of one SM, per cycle (CUDA C++ Programming Guide, arithmetic throughput table,
# compute capability 8.0 and 9.0; FP32 is 64 on 8.0 and 128 later: elementwise kernels are bandwidth-bound either way).
SFU_PER_SM = 16
FP32_PER_SM = 64
# Scores need, besides the exp on the SFU: scale, maximum, subtract, sum on FP32 lanes.
SOFTMAX_FLOPS = 4.0

TILE_N = 128
TILES_M = (16, 32, 64, 128)  # CUTLASS-class thread-block tiles
SPLITS_K = (1, 2, 4, 8, 16)
MIN_SPLIT_K = 256  # shorter reductions are not split: the partial sums would cost more than they save
ATTENTION_TILE = 128  # query rows of a flash-attention block (FlashAttention-2)
DECODE_ROWS = 16  # rows of a tensor-core instruction: a smaller query group is padded to it


@dataclass(frozen=True)
class GpuDevice:
    """A GPU; `bandwidth_bytes_per_s` is the datasheet's, shares are of datasheet peaks."""

    peak_16bit: float  # FLOP/s
    peak_8bit_float: float
    peak_8bit_int: float
    sms: int
    clock_hz: float
    l2_bytes: float
    launch_s: float
    compute_efficiency: float
    memory_efficiency: float
    bandwidth_bytes_per_s: float
    dram_pj_per_bit: float

    def fingerprint(self) -> str:
        return fingerprint_of("gpu", 1, self)

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Prices Gemm, Vector, PrefillAttention and DecodeAttention."""
        shapes = [np.asarray(axis, dtype=np.float64) for axis in axes]
        if isinstance(operator, Gemm):
            return self._gemm(operator, *shapes)
        if isinstance(operator, Vector):
            return self._vector(operator, *shapes)
        if isinstance(operator, PrefillAttention):
            return self._prefill(operator, *shapes)
        if isinstance(operator, DecodeAttention):
            return self._decode(operator, *shapes)
        raise TypeError(f"a GPU does not run {type(operator).__name__}")

    @property
    def _stream_bytes_per_s(self) -> float:
        return self.bandwidth_bytes_per_s * self.memory_efficiency

    def _flops_per_s(self, bits: int) -> float:
        """Achievable rate of the tensor cores. 8-bit formats are taken as the faster of float and integer."""
        peak = max(self.peak_8bit_float, self.peak_8bit_int) if bits <= 8 else self.peak_16bit
        return peak * self.compute_efficiency

    def _gemm(self, operator: Gemm, m: Float64) -> Priced:
        bits = max(operator.weight_bits, operator.activation_bits)
        per_sm = self._flops_per_s(bits) / self.sms
        best: Float64 | None = None
        for tile_m in TILES_M:
            tiles = np.ceil(m / tile_m) * -(-operator.n // TILE_N)
            for split in SPLITS_K:
                if split > 1 and operator.k / split < MIN_SPLIT_K:
                    break
                waves = np.ceil(tiles * split / self.sms)
                seconds = waves * (2.0 * tile_m * TILE_N * (operator.k / split) / per_sm)
                best = seconds if best is None else np.minimum(best, seconds)
        assert best is not None
        moved = gemm_bytes(operator, m, self.l2_bytes / 2)
        joules = (m * (operator.n * operator.k) * energy.mac_pj(bits)
                  + moved * 8 * (self.dram_pj_per_bit + energy.L2_PJ_PER_BIT)) * energy.PICO
        return priced(self.launch_s, [(Bound.COMPUTE, best), (Bound.MEMORY, moved / self._stream_bytes_per_s)], joules)

    def _vector(self, operator: Vector, m: Float64) -> Priced:
        flops = m * (operator.width * operator.flops_per_element)
        exps = m * (operator.width * operator.exps_per_element)
        moved = m * (operator.read_bytes_per_row + operator.write_bytes_per_row)
        joules = ((flops + exps) * energy.VECTOR_OP_PJ
                  + moved * 8 * (self.dram_pj_per_bit + energy.L2_PJ_PER_BIT)) * energy.PICO
        return priced(self.launch_s, [(Bound.VECTOR, self._vector_seconds(flops, exps)),
                                      (Bound.MEMORY, moved / self._stream_bytes_per_s)], joules)

    def _vector_seconds(self, flops: Float64, exps: Float64) -> Float64:
        return np.maximum(flops / FP32_PER_SM, exps / SFU_PER_SM) / (self.sms * self.clock_hz)

    def _prefill(self, operator: PrefillAttention, chunk: Float64, context: Float64) -> Priced:
        """Flash attention: blocks of query rows of a head over the SMs; K and V of a head stay in L2 meanwhile."""
        pairs = chunk * context + chunk * (chunk + 1) / 2
        blocks = np.ceil(chunk / ATTENTION_TILE) * operator.heads
        occupied = blocks / (np.ceil(blocks / self.sms) * self.sms)
        masked = np.minimum(pairs + chunk * (ATTENTION_TILE - 1) / 2, chunk * (chunk + context))
        padded = np.ceil(chunk / ATTENTION_TILE) * ATTENTION_TILE / np.maximum(chunk, 1)
        bits = max(operator.kv_bits, operator.activation_bits)
        flops = masked * padded * (4.0 * operator.heads * operator.head_dim)
        moved = ((context + chunk) * (2 * operator.kv_heads * operator.head_dim * operator.kv_bits / 8)
                 + chunk * (operator.heads * operator.head_dim * (operator.activation_bits / 8 + OUTPUT_BYTES)))
        return self._attention(operator, pairs, flops / self._flops_per_s(bits) / occupied, moved)

    def _decode(self, operator: DecodeAttention, sequences: Float64, context: Float64) -> Priced:
        """Split over the context too, so every SM has work (flash-decoding); the KV cache is read once."""
        group = operator.heads // operator.kv_heads
        rows = -(-group // DECODE_ROWS) * DECODE_ROWS
        pairs = sequences * context
        bits = max(operator.kv_bits, operator.activation_bits)
        flops = pairs * (4.0 * operator.kv_heads * rows * operator.head_dim)
        moved = (pairs * (2 * operator.kv_heads * operator.head_dim * operator.kv_bits / 8)
                 + sequences * (operator.heads * operator.head_dim * (operator.activation_bits / 8 + OUTPUT_BYTES)))
        return self._attention(operator, pairs, flops / self._flops_per_s(bits), moved)

    def _attention(self, operator: PrefillAttention | DecodeAttention, pairs: Float64, matrix_s: Float64,
                   moved: Float64) -> Priced:
        scores = pairs * operator.heads
        bits = max(operator.kv_bits, operator.activation_bits)
        joules = (pairs * (2 * operator.heads * operator.head_dim) * energy.mac_pj(bits)
                  + scores * (SOFTMAX_FLOPS + 1) * energy.VECTOR_OP_PJ
                  + moved * 8 * (self.dram_pj_per_bit + energy.L2_PJ_PER_BIT)) * energy.PICO
        return priced(self.launch_s, [(Bound.COMPUTE, matrix_s),
                                      (Bound.VECTOR, self._vector_seconds(scores * SOFTMAX_FLOPS, scores)),
                                      (Bound.MEMORY, moved / self._stream_bytes_per_s)], joules)
