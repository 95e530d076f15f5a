"""The operator records that devices price. Shapes that do not vary are fields, those that do are arrays (axes).

Every operator is one tensor-parallel rank's share. `AXES` names the arrays that `price` takes for each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

OUTPUT_BYTES = 2.0  # results leave in 16 bits, whatever the operands' format

Number = TypeVar("Number", float, NDArray[np.float64])


@dataclass(frozen=True)
class Gemm:
    """out[m, n] = in[m, k] @ weights[k, n]; axis: m (rows)."""

    n: int
    k: int
    weight_bits: int
    activation_bits: int

    @property
    def matrix_bits(self) -> int:
        """Bits of the wider operand, which sets the rate of multiply-adds."""
        return max(self.weight_bits, self.activation_bits)


@dataclass(frozen=True)
class GroupedGemm:
    """The GEMMs [n, k] of a rank's `experts` of `of` in all, of which a router picks `per_token` for every token; axis: m
    (tokens of the batch, before they are sent to experts). evenness: see `Architecture.expert_evenness`."""

    n: int
    k: int
    experts: int
    of: int
    per_token: int
    weight_bits: int
    activation_bits: int
    evenness: float = inf

    @property
    def matrix_bits(self) -> int:
        """Bits of the wider operand, which sets the rate of multiply-adds."""
        return max(self.weight_bits, self.activation_bits)


@dataclass(frozen=True)
class Vector:
    """Row-wise work of the vector unit (norm, activation, residual, rotary, sampling); axis: m (rows)."""

    width: int  # elements per row
    flops_per_element: float
    exps_per_element: float
    read_bytes_per_row: float
    write_bytes_per_row: float


@dataclass(frozen=True)
class Attention:
    """All heads of one rank, of one layer."""

    heads: int
    kv_heads: int
    head_dim: int
    kv_bits: int
    activation_bits: int

    @property
    def matrix_bits(self) -> int:
        """Bits of the wider operand, which sets the rate of multiply-adds."""
        return max(self.kv_bits, self.activation_bits)

    @property
    def kv_bytes(self) -> float:
        """Keys and values of one token."""
        return 2 * self.kv_heads * self.head_dim * self.kv_bits / 8

    @property
    def query_bytes(self) -> float:
        """Queries read and results written, of one token."""
        return self.heads * self.head_dim * (self.activation_bits / 8 + OUTPUT_BYTES)


class PrefillAttention(Attention):
    """Causal attention of one chunk of one sequence; axes: chunk, context (tokens before it)."""


class DecodeAttention(Attention):
    """One new token for each of a batch of sequences; axes: sequences, mean context (float)."""


def causal_pairs(chunk: Number, context: Number) -> Number:
    """Query-key pairs per head of a chunk: every token attends to the context, itself and the chunk's tokens before it."""
    return chunk * context + chunk * (chunk + 1) / 2


@dataclass(frozen=True)
class Collective:
    """Traffic between devices; axis: m (rows of `bytes_per_row` each, message = m * bytes_per_row).

    The message is what every rank holds at the end of an all-reduce or all-gather, at the start of a reduce-scatter, and
    what every rank sends in all in an all-to-all (a share of 1/ranks stays with it).
    """

    kind: Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "p2p"]
    ranks: int
    bytes_per_row: float


Part = Literal["embed", "before", "attention", "after", "gathered", "send", "head"]
Operator = Gemm | GroupedGemm | Vector | PrefillAttention | DecodeAttention | Collective

AXES: dict[type, tuple[str, ...]] = {
    Gemm: ("rows",),
    GroupedGemm: ("rows",),
    Vector: ("rows",),
    Collective: ("rows",),
    PrefillAttention: ("chunk", "context"),
    DecodeAttention: ("sequences", "context"),
}


@dataclass(frozen=True)
class NamedOperator:
    """An operator in its place: `repeats` times in the whole model, at `part` of it.

    part: `embed` (first stage, rows = tokens), `before`/`attention`/`after` (decoder block), `gathered` (decoder block, rows
    = tokens of all engines that share the experts), `send` (between stages, rows = tokens), `head` (last stage, rows =
    sequences).
    """

    name: str
    operator: Operator
    repeats: int
    part: Part
