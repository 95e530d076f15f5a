"""The roofline (Williams et al., CACM 2009): the ceilings of a device, and what an operator needs at least.

Three times follow from one count of work, each for another question:

    nominal     every operand from DRAM: the shape of a device's time, which measured efficiencies are relative to
    floor       activations in the last-level cache as far as they fit: no device with these ceilings is faster. Weights and
                the KV cache come from DRAM at every step: a model is larger than any cache, and every layer evicts the last
    roofline_s  what is printed next to an operator's time: every operand once; of attention, keys and values alone
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.hardware import Hardware
from simulator.devices import dram
from simulator.devices.device import Bound
from simulator.devices.experts import awake
from simulator.model.operators import (
    OUTPUT_BYTES,
    Attention,
    Collective,
    DecodeAttention,
    DecodeState,
    ExpertBlock,
    GroupedGemm,
    Operator,
    PrefillAttention,
    State,
    Vector,
    seen_keys,
    seen_pairs,
)

Float64 = NDArray[np.float64]
Values = TypeVar("Values", float, Float64)


@dataclass(frozen=True)
class Peaks:
    """Rates of one device that nothing can exceed. Matrix rates count a multiply and an add as 2 FLOP."""

    matrix_16bit_flops: float
    matrix_8bit_flops: float
    memory_bytes_per_s: float  # at the pins
    link_bytes_per_s: float = inf  # per direction
    vector_ops: float | None = None  # operations per second; None where the model does not bound them
    cache_bytes: float = 0.0  # last-level cache; 0 where there is none, or it is a scratchpad
    matrix_4bit_flops: float | None = None  # where units take 4-bit floating-point operands

    def matrix_flops(self, bits: int) -> float:
        """Of operands whose wider one has `bits`."""
        if bits <= 4 and self.matrix_4bit_flops is not None:
            return self.matrix_4bit_flops
        return self.matrix_8bit_flops if bits <= 8 else self.matrix_16bit_flops


@dataclass(frozen=True)
class Work(Generic[Values]):
    """What an operator does at every shape, or over a whole run.

    `flops` are those of the matrix unit, of a Vector operations of the vector unit. `resident_bytes` are weights, keys and
    values; `streamed_bytes` activations that come from one operator and pass to the next; of a collective, what each rank
    must send.
    """

    flops: Values
    resident_bytes: Values
    streamed_bytes: Values
    bits: int  # of the wider matrix operand
    attends: bool = False

    @property
    def least_bytes(self) -> Values:
        """Every operand once; of attention, keys and values alone: queries and results may stay on chip."""
        return self.resident_bytes if self.attends else self.resident_bytes + self.streamed_bytes


def peaks(hardware: Hardware) -> Peaks:
    """The ceilings of one device, whatever its power limit."""
    pins, link = dram.peak_bandwidth_bytes_per_s(hardware.memory), hardware.link.bandwidth_bytes_per_s
    if hardware.npu is not None:
        npu = hardware.npu
        macs_per_s = npu.array[0] * npu.array[1] * npu.arrays * npu.clock_hz
        return Peaks(2 * macs_per_s, 2 * macs_per_s * npu.macs_8bit, pins, link,
                     npu.vector_lanes * npu.clock_hz)
    if hardware.device is not None:
        own = hardware.device
        return Peaks(own.peak_bf16, max(own.peak_8bit or 0.0, own.peak_bf16), pins, link)
    gpu = hardware.gpu
    assert gpu is not None
    return Peaks(gpu.peak_bf16, max(gpu.peak_fp8 or 0.0, gpu.peak_int8 or 0.0, gpu.peak_bf16), pins, link,
                 cache_bytes=gpu.l2_bytes, matrix_4bit_flops=gpu.peak_fp4)


def stream_bytes_per_s(hardware: Hardware) -> float:
    """What long streams reach of the memory's bandwidth at the pins."""
    if hardware.gpu is not None:
        return dram.peak_bandwidth_bytes_per_s(hardware.memory) * hardware.gpu.memory_efficiency
    return dram.bandwidth_bytes_per_s(hardware.memory)


def work(operator: Operator, *axes: Float64) -> Work[Float64]:
    """The work of an operator at every shape of `axes` (see `simulator.model.operators.AXES`).

    A collective's bytes are what each rank must send: all-reduce 2 (n-1)/n, all-gather, reduce-scatter and all-to-all
    (n-1)/n of the message.
    """
    if isinstance(operator, PrefillAttention):
        chunk, context = axes
        read = np.minimum((context + chunk) / operator.ratio, operator.most_keys + chunk)
        return attention_work(operator, seen_pairs(operator, chunk, context), read, chunk)
    if isinstance(operator, DecodeAttention):
        sequences, context = axes
        keys = seen_keys(operator, context)
        return attention_work(operator, sequences * keys, sequences * keys, sequences)
    if isinstance(operator, State):
        return _state_work(operator, *np.broadcast_arrays(*axes))
    (m,) = axes
    if isinstance(operator, ExpertBlock):
        parts = [work(part, m) for part in (operator.up, operator.down)]
        return Work(parts[0].flops + parts[1].flops, parts[0].resident_bytes + parts[1].resident_bytes,
                    parts[0].streamed_bytes + parts[1].streamed_bytes, operator.matrix_bits)
    if isinstance(operator, Vector):
        operations = m * operator.width * (operator.flops_per_element + operator.exps_per_element)
        return Work(operations, np.zeros_like(m), m * (operator.read_bytes_per_row + operator.write_bytes_per_row), 16)
    if isinstance(operator, Collective):
        once = (operator.ranks - 1) / operator.ranks
        share = {"all_reduce": 2 * once, "p2p": 1.0}.get(operator.kind, once)
        return Work(np.zeros_like(m), np.zeros_like(m), m * operator.bytes_per_row * share, 16)
    matrices, rows = np.ones_like(m), m
    if isinstance(operator, GroupedGemm):
        matrices, rows = awake(operator, m), m * (operator.per_token * operator.experts / operator.of)
    weights = matrices * (operator.n * operator.k * operator.stored_weight_bits) / 8
    streamed = (rows * operator.k * operator.stored_activation_bits + rows * operator.n * 8 * OUTPUT_BYTES) / 8
    return Work(2.0 * rows * operator.n * operator.k, weights, streamed, operator.matrix_bits)


def _state_work(operator: State, first: Float64, _: Float64) -> Work[Float64]:
    """A recurrence reads and writes the state once per chunk or new token; its flops are the recurrent form's, the least."""
    states = first if isinstance(operator, DecodeState) else np.ones_like(first)
    return Work(first * operator.token_flops, 2 * states * operator.state_bytes, first * operator.token_bytes, 16)


def attention_work(operator: Attention, pairs: Values, kv_tokens: Values, queries: Values) -> Work[Values]:
    """From query-key pairs per head, tokens whose K and V are read, and query tokens."""
    return Work(operator.flops_per_pair * pairs, operator.kv_bytes * kv_tokens,
                operator.query_bytes * queries, operator.matrix_bits, attends=True)


def least_s(operator: Operator, done: Work[Values], peaks: Peaks) -> Values:
    """Seconds below which the ceilings do not let `done` be done."""
    if isinstance(operator, Collective):
        return done.least_bytes / peaks.link_bytes_per_s
    return np.maximum(done.least_bytes / peaks.memory_bytes_per_s, _compute_s(operator, done, peaks))


def roofline_s(hardware: Hardware, operator: Operator, *axes: Float64) -> Float64:
    """Seconds below which `operator` cannot run on one device, at every shape."""
    return least_s(operator, work(operator, *axes), peaks(hardware))


def nominal(operator: Operator, peaks: Peaks, *axes: Float64) -> tuple[Float64, NDArray[np.int8]]:
    """Seconds on the roofline with every operand from DRAM, and what binds there (Bound)."""
    done = work(operator, *axes)
    memory_s = (done.resident_bytes + done.streamed_bytes) / peaks.memory_bytes_per_s
    compute_s = _compute_s(operator, done, peaks)
    bound = np.where(compute_s > memory_s, int(Bound.COMPUTE), int(Bound.MEMORY)).astype(np.int8)
    return np.maximum(compute_s, memory_s), bound


def floor(operator: Operator, peaks: Peaks, *axes: Float64) -> Float64:
    """Seconds that no device with these peaks can beat: activations in cache as far as they fit."""
    done = work(operator, *axes)
    spilled = np.maximum(done.streamed_bytes - peaks.cache_bytes, 0.0)
    return np.maximum(_compute_s(operator, done, peaks), (done.resident_bytes + spilled) / peaks.memory_bytes_per_s)


def expert_block_s(closing: GroupedGemm, peaks: Peaks, tokens: Float64, awake: Float64) -> Float64:
    """Nominal seconds of a gated mixture of experts (three matrices an expert) that ends in the grouped GEMM `closing`."""
    matrices = 3.0 * closing.n * closing.k
    visits = tokens * (closing.per_token * closing.experts / closing.of)
    flops_s = 2.0 * visits * matrices / peaks.matrix_flops(closing.matrix_bits)
    moved = (awake * matrices * closing.weight_bits / 8
             + visits * (closing.n * closing.activation_bits / 8 + OUTPUT_BYTES * closing.n))
    return np.maximum(flops_s, moved / peaks.memory_bytes_per_s)


def _compute_s(operator: Operator, done: Work[Values], peaks: Peaks) -> Values:
    if isinstance(operator, Vector):
        return done.flops * 0.0 if peaks.vector_ops is None else done.flops / peaks.vector_ops
    return done.flops / peaks.matrix_flops(done.bits)
