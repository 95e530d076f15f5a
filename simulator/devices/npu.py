"""The NPU model: systolic arrays and a vector unit over a double-buffered scratchpad and DRAM.

Time of an operator = launch + fill + the slowest of arrays, vector unit and DRAM, which work side by side on different
tiles. Assumptions: half the scratchpad holds what stays, the other half streams; 8-bit operands run at `macs_8bit` times
the 16-bit rate (8-bit MACs of a PE in a cycle); weights narrower than the activations are widened on the way into the array;
results are 16 bits wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.devices.compose import fingerprint_of, priced
from simulator.devices.device import Bound, Priced
from simulator.devices.systolic import Dataflow, filling, gemm_cycles
from simulator.devices.traffic import gemm_bytes
from simulator.model.operators import (
    OUTPUT_BYTES,
    STATE_BLOCK,
    DecodeAttention,
    DecodeState,
    Gemm,
    Operator,
    PrefillAttention,
    State,
    Vector,
    causal_pairs,
    chunked_flops,
    seen_keys,
    seen_pairs,
)
from simulator.silicon import energy

Float64 = NDArray[np.float64]

# exp on the vector unit: one pipelined operation per lane and cycle, as PSAL-POSTECH/ONNXim's TPUv4 configuration
# (systolic_ws_128x128_c4_simple_noc_tpuv4.json: exp_latency 1).
EXP_OPS = 1.0
# Softmax of one score besides its exp: scale, running maximum, subtract, running sum (online softmax).
SOFTMAX_OPS = 4.0 + EXP_OPS


@dataclass(frozen=True)
class VectorUnit:
    """The vector unit of an NPU: a device of its own, so that NPUs that differ in their arrays share its prices."""

    lanes: int
    clock_hz: float
    launch_s: float
    bandwidth_bytes_per_s: float
    dram_pj_per_bit: float
    op_pj: float

    def fingerprint(self) -> str:
        return fingerprint_of("vector", 2, self)

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Prices Vector."""
        if not isinstance(operator, Vector):
            raise TypeError(f"a vector unit does not run {type(operator).__name__}")
        m = np.asarray(axes[0], dtype=np.float64)
        operations = m * (operator.width * (operator.flops_per_element + operator.exps_per_element * EXP_OPS))
        moved = m * (operator.read_bytes_per_row + operator.write_bytes_per_row)
        joules = (operations * self.op_pj + moved * (8 * self.dram_pj_per_bit)) * energy.PICO
        return priced(self.launch_s, [(Bound.VECTOR, operations / (self.lanes * self.clock_hz)),
                                      (Bound.MEMORY, moved / self.bandwidth_bytes_per_s)], joules)


@dataclass(frozen=True)
class NpuDevice:
    """An NPU; see the module text. `bandwidth_bytes_per_s` is what streams reach, not the pins' peak.

    `kv_bandwidth_bytes_per_s` is for reading and writing the KV cache where that lives in PIM stacks of its own:
    `kv_bound` is then MEMORY (stacks on the package) or NETWORK (behind a link); 0: in the device's own memory.
    """

    rows: int
    columns: int
    arrays: int
    dataflow: Dataflow
    pipelined_folds: bool
    clock_hz: float
    vector_lanes: int
    sram_bytes: float
    launch_s: float
    bandwidth_bytes_per_s: float
    dram_pj_per_bit: float  # cell to scratchpad
    mac_pj: float  # one 16-bit MAC, operands included
    vector_op_pj: float
    sram_pj_per_bit: float
    macs_8bit: int = 2  # of a processing element in a cycle
    kv_bandwidth_bytes_per_s: float = 0.0
    kv_bound: Bound = Bound.MEMORY

    def fingerprint(self) -> str:
        return fingerprint_of("npu", 4, self)

    @cached_property
    def vector_unit(self) -> VectorUnit:
        """What runs Vector operators."""
        return VectorUnit(self.vector_lanes, self.clock_hz, self.launch_s, self.bandwidth_bytes_per_s, self.dram_pj_per_bit,
                          self.vector_op_pj)

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Prices Gemm, Vector, attention and recurrences."""
        shapes = [np.asarray(axis, dtype=np.float64) for axis in axes]
        if isinstance(operator, Gemm):
            return self._gemm(operator, *shapes)
        if isinstance(operator, Vector):
            return self.vector_unit.price(operator, *shapes)
        if isinstance(operator, PrefillAttention):
            return self._prefill(operator, *shapes)
        if isinstance(operator, DecodeAttention):
            return self._decode(operator, *shapes)
        if isinstance(operator, State):
            return self._state(operator, np.broadcast_arrays(*shapes)[0])
        raise TypeError(f"an NPU does not run {type(operator).__name__}")

    def _gemm(self, operator: Gemm, m: Float64) -> Priced:
        bits = operator.matrix_bits
        cycles = gemm_cycles(m, operator.n, -(-operator.k // self._macs(bits)), self.rows, self.columns,
                             self.dataflow, pipelined=self.pipelined_folds, arrays=self.arrays)
        moved = gemm_bytes(operator, m, self.sram_bytes / 2)
        macs = m * (operator.n * operator.k)
        weight_bytes = operator.n * operator.k * operator.stored_weight_bits / 8
        tile = min(self.rows * self.columns * operator.weight_bits / 8, weight_bytes)  # before an array can start
        fill_s = tile / self.bandwidth_bytes_per_s
        # every operand passes the scratchpad once per array pass: inputs per column of folds, weights once
        sram_bytes = m * (operator.k * operator.activation_bits / 8 * -(-operator.n // self.columns)) + 2 * weight_bytes
        joules = (macs * self._array_pj(bits) + sram_bytes * (8 * self.sram_pj_per_bit)
                  + moved * (8 * self.dram_pj_per_bit)) * energy.PICO
        found = priced(self.launch_s + fill_s, [(Bound.COMPUTE, cycles / self.clock_hz),
                                                (Bound.MEMORY, moved / self.bandwidth_bytes_per_s)], joules)
        fills = filling(m, operator.n, -(-operator.k // self._macs(bits)), self.rows, self.columns, self.dataflow,
                        pipelined=self.pipelined_folds, arrays=self.arrays)
        found.bound[fills & (found.bound == int(Bound.COMPUTE))] = int(Bound.ARRAY_FILL)
        return found

    def _macs(self, bits: int) -> int:
        """MACs that one processing element does per cycle on operands of `bits`."""
        return self.macs_8bit if bits <= 8 else 1

    def _array_pj(self, bits: int) -> float:
        """One MAC on operands of `bits`, without its scratchpad reads."""
        return self.mac_pj * energy.ARRAY_SHARE * energy.width_factor(bits)

    def _prefill(self, operator: PrefillAttention, chunk: Float64, context: Float64) -> Priced:
        """Flash attention: query rows stay on chip (as many as fit), K and V stream past them once per query tile."""
        if not operator.plain or operator.expands:
            return self._prefill_part(operator, chunk, context)
        group = operator.heads // operator.kv_heads
        width = operator.head_dim
        rows = chunk * group  # query rows that share a KV head
        rows_fit = max(1.0, self.sram_bytes / 2 // (width * (OUTPUT_BYTES + 4.0)))  # query and fp32 accumulator
        tiles = np.maximum(1.0, np.ceil(rows / rows_fit))
        pairs = causal_pairs(chunk, context)
        bits = operator.matrix_bits
        cycles = operator.kv_heads * (
            self._streamed(pairs * group, rows, tiles, context + chunk, width, bits, True)
            + self._streamed(pairs * group, rows, tiles, context + chunk, operator.values, bits, False) * bool(operator.values))
        kv = operator.kv_bytes * (context * tiles + chunk * (tiles + 1) / 2)
        if self.kv_bandwidth_bytes_per_s:  # the chunk's own K and V are on the way there
            kv = operator.kv_bytes * (context * tiles + chunk)
        return self._attention(operator, pairs, cycles, kv, operator.query_bytes * chunk)

    def _prefill_part(self, operator: PrefillAttention, chunk: Float64, context: Float64) -> Priced:
        """Prompts that see a part of the tokens before them, or make a context's keys and values from its latents first: a window's
        and a run's keys stream past as in full attention; keys that each token picks for itself are stationary for that token's
        query heads alone, so loading them rules."""
        group, bits = operator.heads // operator.kv_heads, operator.matrix_bits
        pairs = seen_pairs(operator, chunk, context)
        keys = np.minimum((context + chunk) / operator.ratio, operator.most_keys + chunk)
        one = np.ones_like(chunk)
        if operator.top_k is not None:
            rows, loads, stationary = group * one, chunk, pairs / np.maximum(chunk, 1.0)
            score_rows = stationary * group
        else:
            rows, loads, stationary, score_rows = chunk * group, one, keys, pairs * group
        cycles = operator.kv_heads * loads * (
            self._streamed(score_rows, rows, one, stationary, operator.head_dim, bits, True)
            + self._streamed(score_rows, rows, one, stationary, operator.values, bits, False) * bool(operator.values))
        if operator.expands:
            cycles = cycles + context * (operator.heads * operator.expands / (self.rows * self.columns * self.arrays))
        return self._attention(operator, pairs, cycles, operator.kv_bytes * keys, operator.query_bytes * chunk)

    def _state(self, operator: State, first: Float64) -> Priced:
        """A recurrence: prompts in blocks on the arrays, the state kept on chip as far as it fits; decodes on the vector unit, the
        state read and written."""
        if isinstance(operator, DecodeState):
            operations, cycles, states = first * operator.token_flops, 0.0 * first, first
        else:
            macs = first * (chunked_flops(operator) / 2)
            cycles = macs / (self.rows * self.columns * self.arrays) + np.ceil(first / STATE_BLOCK) * (self.rows + self.columns)
            operations, states = first * (8.0 * operator.heads * operator.head_dim), np.ones_like(first)
        spilled = max(operator.state_bytes - self.sram_bytes / 2, 0.0)
        blocks = 0.0 * first if isinstance(operator, DecodeState) else np.ceil(first / STATE_BLOCK)
        moved = first * operator.token_bytes + 2 * states * operator.state_bytes + 2 * blocks * spilled
        joules = (cycles * (self.rows * self.columns * self.arrays * self._array_pj(16)) + operations * self.vector_op_pj
                  + moved * (8 * self.dram_pj_per_bit)) * energy.PICO
        return priced(self.launch_s, [(Bound.COMPUTE, cycles / self.clock_hz),
                                      (Bound.VECTOR, operations / (self.vector_lanes * self.clock_hz)),
                                      (Bound.MEMORY, moved / self.bandwidth_bytes_per_s)], joules)

    def _streamed(self, score_rows: Float64, rows: Float64, tiles: Float64, keys: Float64, width: int, bits: int,
                  scores: bool) -> Float64:
        """Cycles on one KV head, all arrays sharing, of Q K^T (`scores`) or P V with K or V stationary: the rows that
        see a stationary tile stream past it, at least as long as the next tile takes to load."""
        rate = self._macs(bits)
        if scores:  # K^T tile: head_dim x keys
            span, passes = self.columns, math.ceil(math.ceil(width / rate) / self.rows)
        else:  # V tile: keys x head_dim
            span, passes = self.rows * rate, -(-width // self.columns)
        stationary = np.ceil(keys / span)
        # a row's last tile is partly masked: half a tile more on average, never more than all tiles
        streamed = np.minimum(score_rows / span + rows * ((span - 1) / (2 * span)), rows * stationary)
        preload = stationary * tiles * self.rows
        return np.maximum(streamed, preload) * (passes / self.arrays)

    def _decode(self, operator: DecodeAttention, sequences: Float64, context: Float64) -> Priced:
        """KV is read once. MACs run on the arrays (the group's query rows past stationary KV: the preload floor rules)
        or on the vector unit, whichever is faster for the shape."""
        group = operator.heads // operator.kv_heads
        bits = operator.matrix_bits
        context = seen_keys(operator, context)
        pairs = sequences * context
        rows = sequences * group
        one = np.ones_like(rows)
        cycles = operator.kv_heads * sequences * (
            self._streamed(context * group, group * one, one, context, operator.head_dim, bits, True)
            + self._streamed(context * group, group * one, one, context, operator.values, bits, False) * bool(operator.values))
        on_lanes = pairs * (operator.heads * (operator.head_dim + operator.values) / self.vector_lanes)
        kv = pairs * operator.kv_bytes
        found = self._attention(operator, pairs, np.minimum(cycles, on_lanes), kv, operator.query_bytes * sequences)
        matrix = found.bound == int(Bound.COMPUTE)
        found.bound[matrix & (on_lanes < cycles)] = int(Bound.VECTOR)
        found.bound[matrix & (on_lanes >= cycles) & (group < self.rows)] = int(Bound.ARRAY_FILL)  # fewer rows than a tile loads in
        return found

    def _attention(self, operator: PrefillAttention | DecodeAttention, pairs: Float64, cycles: Float64,
                   kv: Float64, moved: Float64) -> Priced:
        """`pairs` of query and key per head, `cycles` of matrix work, bytes of `kv` and of queries and results."""
        softmax_ops = pairs * (operator.heads * SOFTMAX_OPS)
        macs = pairs * (operator.heads * (operator.head_dim + operator.values))
        bits = operator.matrix_bits
        sram_bits = macs / self.columns * bits  # K and V past the query rows
        joules = (macs * self._array_pj(bits) + softmax_ops * self.vector_op_pj + sram_bits * self.sram_pj_per_bit
                  + (kv + moved) * (8 * self.dram_pj_per_bit)) * energy.PICO
        parts = [(Bound.COMPUTE, cycles / self.clock_hz),
                 (Bound.VECTOR, softmax_ops / (self.vector_lanes * self.clock_hz))]
        if self.kv_bandwidth_bytes_per_s:
            parts.append((self.kv_bound, kv / self.kv_bandwidth_bytes_per_s))
        else:
            moved = kv + moved
        return priced(self.launch_s, [*parts, (Bound.MEMORY, moved / self.bandwidth_bytes_per_s)], joules)
