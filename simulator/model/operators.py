"""The operator records that devices price. Shapes that do not vary are fields, those that do are arrays (axes).

Every operator is one tensor-parallel rank's share. `AXES` names the arrays that `price` takes for each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal


@dataclass(frozen=True)
class Gemm:
    """out[m, n] = in[m, k] @ weights[k, n]; axis: m (rows)."""

    n: int
    k: int
    weight_bits: int
    activation_bits: int


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


@dataclass(frozen=True)
class Vector:
    """Row-wise work of the vector unit (norm, activation, residual, rotary, sampling); axis: m (rows)."""

    width: int  # elements per row
    flops_per_element: float
    exps_per_element: float
    read_bytes_per_row: float
    write_bytes_per_row: float


@dataclass(frozen=True)
class PrefillAttention:
    """Causal attention of one chunk of one sequence, all heads of a rank; axes: chunk, context (tokens before it)."""

    heads: int
    kv_heads: int
    head_dim: int
    kv_bits: int
    activation_bits: int


@dataclass(frozen=True)
class DecodeAttention:
    """One new token for each of a batch of sequences, all heads of this rank; axes: sequences, mean context (float)."""

    heads: int
    kv_heads: int
    head_dim: int
    kv_bits: int
    activation_bits: int


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
