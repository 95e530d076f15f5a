"""The GPU model: datasheet peaks times calibrated shares, tiles quantised over SMs, a launch floor per kernel.

The constants are in the hardware's record; where they are calibrated and where they are defaults is said there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.compute import GpuAttention
from simulator.devices.compose import fingerprint_of, priced
from simulator.devices.device import Bound, Fidelity, Priced
from simulator.devices.experts import load_of
from simulator.devices.gpu_attention import decode_s, prefill_s
from simulator.devices.gpu_kernels import (
    experts_parts,
    gemm_parts,
    stream_format,
    stream_kind,
    stream_parts,
    stream_work,
    tile_format,
)
from simulator.devices.kernel_constants import Kernels
from simulator.devices.traffic import gemm_bytes
from simulator.model.operators import (
    DecodeAttention,
    ExpertBlock,
    Gemm,
    Operator,
    PrefillAttention,
    Vector,
    causal_pairs,
)
from simulator.silicon import energy

Float64 = NDArray[np.float64]

# Special function units and FP32 lanes of one SM, per cycle (CUDA C++ Programming Guide, arithmetic throughput table,
# compute capability 8.0 and 9.0; FP32 is 64 on 8.0 and 128 later: elementwise kernels are bandwidth-bound either way).
SFU_PER_SM = 16
FP32_PER_SM = 64
# Scores need, besides the exp on the SFU: scale, maximum, subtract, sum on FP32 lanes.
SOFTMAX_FLOPS = 4.0

# Thread-block tiles (rows, columns) that libraries choose from, CUTLASS-class, and how often they split the reduction.
TILES = ((16, 64), (64, 64), (64, 128), (128, 128), (128, 256))
SPLITS_K = (1, 2, 4, 8)
MIN_SPLIT_K = 128  # shorter reductions are not split
SPLIT_S = 1e-6  # a split needs a second pass over the partial sums (half a launch; our estimate)
PARTIAL_BYTES = 4.0  # fp32
PIECE = 4096  # shapes tried against all tilings at once: what the processor's cache holds

# Besides, where tensor instructions take operands of any width: heights between the powers of two, as the names of cuBLAS's
# Hopper kernels tell them (nvjet_hsh_192x256, ...)
TILES_BETWEEN = ((96, 256), (160, 256), (192, 256), (224, 256))


def _tilings(tiles: tuple[tuple[int, int], ...]) -> tuple[Float64, ...]:
    """Rows, columns and splits of all tilings, each [tilings, 1]."""
    return tuple(np.array(column, dtype=np.float64)[:, None] for column in
                 zip(*((*tile, split) for tile in tiles for split in SPLITS_K), strict=True))


_TILINGS = {False: _tilings(TILES), True: _tilings((*TILES, *TILES_BETWEEN))}


def _scaled(operator: Gemm) -> bool:
    """Whether kernels of their own run a GEMM: both operands in 4 bits, or 8-bit ones with scales of blocks."""
    return bool(operator.scales) and (operator.matrix_bits <= 4 or (operator.matrix_bits <= 8 and operator.scales == "fp8_block"))


@dataclass(frozen=True)
class GpuDevice:
    """A GPU; `bandwidth_bytes_per_s` is the datasheet's, shares are of datasheet peaks."""

    peak_16bit: float  # FLOP/s
    peak_8bit: float
    peak_4bit: float  # of 4-bit floating-point operands; as `peak_8bit` where there are no such units
    sms: int
    clock_hz: float
    l2_bytes: float
    launch_s: float
    compute_efficiency: float
    compute_efficiency_8bit: float
    memory_efficiency: float
    flops_per_l2_byte: float
    tile_overhead_s: float
    any_tile_height: bool
    quantise_s: float
    attention: GpuAttention
    kernels: Kernels  # of everything else than plain GEMMs and full attention
    calibrated: bool  # whether the constants were measured on this device
    bandwidth_bytes_per_s: float
    active_w: float  # while any kernel runs, besides what is counted
    matrix_pj_per_flop: float  # 16-bit
    matrix_pj_per_flop_8bit: float
    path_pj_per_bit: float  # DRAM cell to register
    vector_pj_per_op: float
    prices_expert_blocks = True

    @property
    def fidelity(self) -> Fidelity:
        return Fidelity.CALIBRATED if self.calibrated else Fidelity.ANALYTIC

    def fingerprint(self) -> str:
        return fingerprint_of("gpu", 8, self)

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Prices everything but collectives and plain grouped GEMMs."""
        found = self._counted(operator, *(np.asarray(axis, dtype=np.float64) for axis in axes))
        return replace(found, joules=found.joules + self.active_w * found.seconds)

    def _counted(self, operator: Operator, *shapes: Float64) -> Priced:
        """As `price`, energy from counts alone."""
        if stream_kind(operator) is not None:
            return self._stream(operator, *shapes)
        if isinstance(operator, Gemm):
            return self._scaled_gemm(operator, *shapes) if _scaled(operator) else self._gemm(operator, *shapes)
        if isinstance(operator, ExpertBlock):
            return self._experts(operator, *shapes)
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
        """Achievable rate of the tensor cores."""
        if bits <= 8:
            return self.peak_8bit * self.compute_efficiency_8bit
        return self.peak_16bit * self.compute_efficiency

    def peak_flops_per_s(self, bits: int) -> float:
        return self.peak_4bit if bits <= 4 else self.peak_8bit if bits <= 8 else self.peak_16bit

    def _matrix_pj(self, bits: int) -> float:
        """One FLOP of the tensor cores."""
        if bits <= 4 and self.peak_4bit > self.peak_8bit:
            return self.matrix_pj_per_flop_8bit * energy.width_factor(4) / energy.width_factor(8)
        return self.matrix_pj_per_flop_8bit if bits <= 8 else self.matrix_pj_per_flop

    def _stream(self, operator: Operator, *axes: Float64) -> Priced:
        """Attention over windows, latents or picked keys, recurrences, convolutions."""
        kind = stream_kind(operator)
        assert kind is not None
        constants = self.kernels.stream(kind, stream_format(operator))
        work = stream_work(operator, axes, self.sms)
        computing_s, reading_s = stream_parts(constants, work, sms=self.sms, flops_per_s=self.peak_flops_per_s(work.bits),
                                              bandwidth_bytes_per_s=self.bandwidth_bytes_per_s)
        beside_s = constants.exposed * np.minimum(computing_s, reading_s)
        joules = (work.flops * self._matrix_pj(work.bits) + work.bytes * (8 * self.path_pj_per_bit)) * energy.PICO
        return priced(constants.launch_s, [(Bound.COMPUTE, computing_s + beside_s), (Bound.MEMORY, reading_s + beside_s)], joules,
                      self.fidelity)

    def _scaled_gemm(self, operator: Gemm, m: Float64) -> Priced:
        """Block-scaled operands, or 4-bit ones."""
        constants = self.kernels.tile("gemm", tile_format(operator))
        moved = gemm_bytes(operator, m, self.l2_bytes / 2)
        tiles_s, memory_s, quantised_s = gemm_parts(
            constants, operator, m, moved, sms=self.sms, flops_per_s=self.peak_flops_per_s(operator.matrix_bits),
            bandwidth_bytes_per_s=self.bandwidth_bytes_per_s)
        joules = (m * (2.0 * operator.n * operator.k) * self._matrix_pj(operator.matrix_bits)
                  + moved * (8 * self.path_pj_per_bit)) * energy.PICO
        overhead_s = constants.launch_s + quantised_s
        if operator.quantised:  # one kernel, as a plain GEMM
            overhead_s = np.full(m.shape, min(self.launch_s, constants.launch_s))
        return priced(overhead_s, [(Bound.COMPUTE, tiles_s), (Bound.MEMORY, memory_s)], joules, self.fidelity)

    def _experts(self, operator: ExpertBlock, m: Float64) -> Priced:
        constants = self.kernels.tile("experts", tile_format(operator))
        load = load_of(operator, m)
        tiles_s, weights_s, stream_s = experts_parts(
            constants, operator, m, load, sms=self.sms, flops_per_s=self.peak_flops_per_s(operator.matrix_bits),
            bandwidth_bytes_per_s=self.bandwidth_bytes_per_s)
        flops, weights, moved = (0.0 * m for _ in range(3))
        for product in (operator.up, operator.down):
            flops = flops + load.visits * (2.0 * product.n * product.k)
            weights = weights + load.awake * (product.n * product.k * product.stored_weight_bits / 8)
            moved = moved + load.visits * ((product.n + product.k) * 2.0)
        joules = (flops * self._matrix_pj(operator.matrix_bits) + (weights + moved) * (8 * self.path_pj_per_bit)) * energy.PICO
        found = priced(constants.launch_s + stream_s, [(Bound.MEMORY, tiles_s + weights_s)], joules, self.fidelity)
        found.bound[(tiles_s > weights_s) & (found.bound == int(Bound.MEMORY))] = int(Bound.COMPUTE)
        return found

    def _gemm(self, operator: Gemm, m: Float64) -> Priced:
        bits = operator.matrix_bits
        moved = gemm_bytes(operator, m, self.l2_bytes / 2)
        memory_s = moved / self._stream_bytes_per_s + self.tile_overhead_s
        overhead_s = np.full(m.shape, self.launch_s)
        if bits <= 8 and not operator.quantised:  # activations arrive in 16 bits: one more kernel reads them and writes 8 bits
            overhead_s = overhead_s + self.quantise_s + m * (3.0 * operator.k) / self._stream_bytes_per_s
        joules = (m * (2.0 * operator.n * operator.k) * self._matrix_pj(bits)
                  + moved * (8 * self.path_pj_per_bit)) * energy.PICO
        seconds, computing = np.empty(m.shape), np.empty(m.shape, dtype=bool)
        for start in range(0, m.size, PIECE):
            piece = np.s_[start: start + PIECE]
            found_s, found_bound = self._tiled(operator, bits, m.flat[piece], memory_s.flat[piece])
            seconds.flat[piece], computing.flat[piece] = found_s, found_bound
        found = priced(overhead_s, [(Bound.MEMORY, seconds)], joules, self.fidelity)
        found.bound[computing & (found.bound == int(Bound.MEMORY))] = int(Bound.COMPUTE)
        return found

    def _tiled(self, operator: Gemm, bits: int, m: Float64, memory_s: Float64) -> tuple[Float64, NDArray[np.bool_]]:
        """(seconds of the fastest tiling, whether its tiles outlast the memory's `memory_s`), shape of m (one axis).

        Waves of tiles over the SMs, each tile at the rate of its MACs or of its operands from L2, whichever is slower;
        with a split reduction a second pass over the partial sums, which cross L2 twice.
        """
        per_sm = self._flops_per_s(bits) / self.sms
        l2_per_sm = self.peak_16bit / self.sms / self.flops_per_l2_byte
        tile_m, tile_n, split = _TILINGS[self.any_tile_height]
        k = operator.k / split
        operand_bytes = (tile_m * operator.activation_bits + tile_n * operator.weight_bits) / 8
        per_k = np.maximum(2 * tile_m * tile_n / per_sm, operand_bytes / l2_per_sm)
        tile_s = np.where((split == 1) | (k >= MIN_SPLIT_K), k * per_k + self.tile_overhead_s, np.inf)
        columns = np.ceil(operator.n / tile_n) * split / self.sms
        tiles_s = np.ceil(np.ceil(m / tile_m) * columns) * tile_s
        partial_s = operator.n * PARTIAL_BYTES * (split + 1) / (l2_per_sm * self.sms / 2)
        second_pass_s = np.where(split > 1, SPLIT_S + partial_s * m, 0.0)
        total = np.maximum(tiles_s, memory_s) + second_pass_s
        best = total.argmin(axis=0)
        every = np.arange(m.size)
        return total[best, every], tiles_s[best, every] > memory_s

    def _vector(self, operator: Vector, m: Float64) -> Priced:
        flops = m * (operator.width * operator.flops_per_element)
        exps = m * (operator.width * operator.exps_per_element)
        moved = m * (operator.read_bytes_per_row + operator.write_bytes_per_row)
        joules = ((flops + exps) * self.vector_pj_per_op + moved * (8 * self.path_pj_per_bit)) * energy.PICO
        return priced(self.launch_s, [(Bound.VECTOR, self._vector_seconds(flops, exps)),
                                      (Bound.MEMORY, moved / self._stream_bytes_per_s)], joules)

    def _vector_seconds(self, flops: Float64, exps: Float64) -> Float64:
        return np.maximum(flops / FP32_PER_SM, exps / SFU_PER_SM) / (self.sms * self.clock_hz)

    def _prefill(self, operator: PrefillAttention, chunk: Float64, context: Float64) -> Priced:
        pairs = causal_pairs(chunk, context)
        busy_s = prefill_s(self.attention, operator, chunk, context, sms=self.sms,
                           flops_per_s=self._attention_flops_per_s(operator),
                           bandwidth_bytes_per_s=self.bandwidth_bytes_per_s)
        moved = (context + chunk) * operator.kv_bytes + chunk * operator.query_bytes
        return self._attention(operator, pairs, moved, self.attention.launch_s, [
            (Bound.COMPUTE, busy_s), (Bound.MEMORY, moved / self._stream_bytes_per_s)])

    def _decode(self, operator: DecodeAttention, sequences: Float64, context: Float64) -> Priced:
        tasks_s, memory_s, moved = decode_s(self.attention, operator, sequences, context, sms=self.sms,
                                            flops_per_s=self._attention_flops_per_s(operator),
                                            bandwidth_bytes_per_s=self.bandwidth_bytes_per_s)
        return self._attention(operator, sequences * context, moved, self.attention.decode_launch_s, [
            (Bound.COMPUTE, tasks_s), (Bound.MEMORY, memory_s)])

    def _attention_flops_per_s(self, operator: PrefillAttention | DecodeAttention) -> float:
        return (self.peak_8bit if operator.matrix_bits <= 8 else self.peak_16bit) * self.attention.prefill_efficiency

    def _attention(self, operator: PrefillAttention | DecodeAttention, pairs: Float64, moved: Float64, launch_s: float,
                   parts: list[tuple[Bound, Float64]]) -> Priced:
        scores = pairs * operator.heads
        joules = (pairs * (4.0 * operator.heads * operator.head_dim) * self._matrix_pj(operator.matrix_bits)
                  + scores * ((SOFTMAX_FLOPS + 1) * self.vector_pj_per_op)
                  + moved * (8 * self.path_pj_per_bit)) * energy.PICO
        exps = (Bound.VECTOR, self._vector_seconds(scores * SOFTMAX_FLOPS, scores))
        return priced(launch_s, [*parts, exps], joules, self.fidelity)
