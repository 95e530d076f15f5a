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


# Bits that shared scales add to an element: (weight, activation), by how many elements share one. DeepSeek-V3 report, section 3.3
# (fp32 per 128 x 128 weights and per 128 activations); NVIDIA, "Introducing NVFP4" (e4m3 per 16); OCP Microscaling Formats 1.0
# (e8m0 per 32).
SCALE_BITS: dict[str, tuple[float, float]] = {
    "": (0.0, 0.0), "fp8_block": (32 / (128 * 128), 32 / 128), "nvfp4": (8 / 16, 8 / 16), "mxfp4": (8 / 32, 8 / 32)}
Scales = Literal["", "fp8_block", "nvfp4", "mxfp4"]


@dataclass(frozen=True)
class Gemm:
    """out[m, n] = in[m, k] @ weights[k, n]; axis: m (rows). scales: the block format of operands below 16 bits. quantised: whether
    its input comes in its own format, written so by the operator before (a fused kernel)."""

    n: int
    k: int
    weight_bits: int
    activation_bits: int
    scales: Scales = ""
    quantised: bool = False

    @property
    def matrix_bits(self) -> int:
        """Bits of the wider operand, which sets the rate of multiply-adds."""
        return max(self.weight_bits, self.activation_bits)

    @property
    def stored_weight_bits(self) -> float:
        """Of a weight, its share of a scale included."""
        return self.weight_bits + (SCALE_BITS[self.scales][0] if self.weight_bits < 16 else 0.0)

    @property
    def stored_activation_bits(self) -> float:
        """Of an operand's element, its share of a scale included."""
        return self.activation_bits + (SCALE_BITS[self.scales][1] if self.activation_bits < 16 else 0.0)


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
    scales: Scales = ""

    @property
    def matrix_bits(self) -> int:
        """Bits of the wider operand, which sets the rate of multiply-adds."""
        return max(self.weight_bits, self.activation_bits)

    @property
    def stored_weight_bits(self) -> float:
        """Of a weight, its share of a scale included."""
        return self.weight_bits + (SCALE_BITS[self.scales][0] if self.weight_bits < 16 else 0.0)

    @property
    def stored_activation_bits(self) -> float:
        """Of an operand's element, its share of a scale included."""
        return self.activation_bits + (SCALE_BITS[self.scales][1] if self.activation_bits < 16 else 0.0)


@dataclass(frozen=True)
class ExpertBlock:
    """A rank's experts from the chosen expert numbers to the weighted sum: both grouped GEMMs and all between them, which engines
    run as one fused operator; axis: m (tokens of the batch, before they are sent to experts).

    hidden: width of the stream; width: of a rank's share of an expert. experts of `of` are on this rank.
    """

    hidden: int
    width: int
    gated: bool
    experts: int
    of: int
    per_token: int
    weight_bits: int
    activation_bits: int
    evenness: float = inf
    scales: Scales = ""

    @property
    def matrix_bits(self) -> int:
        """Bits of the wider operand, which sets the rate of multiply-adds."""
        return max(self.weight_bits, self.activation_bits)

    def grouped(self, n: int, k: int) -> GroupedGemm:
        """One of its GEMMs."""
        return GroupedGemm(n, k, self.experts, self.of, self.per_token, self.weight_bits, self.activation_bits, self.evenness,
                           self.scales)

    @property
    def up(self) -> GroupedGemm:
        return self.grouped((2 if self.gated else 1) * self.width, self.hidden)

    @property
    def down(self) -> GroupedGemm:
        return self.grouped(self.hidden, self.width)

    @property
    def visits(self) -> float:
        """Of a token to this rank's experts, at an even router."""
        return self.per_token * self.experts / self.of

    @property
    def between(self) -> Vector:
        """The activation between the GEMMs and the weighted sum after them."""
        gates = 2 if self.gated else 1
        read = self.visits * (gates * self.width + self.hidden) * OUTPUT_BYTES
        written = (self.visits * self.width + self.hidden) * OUTPUT_BYTES
        return Vector(1, self.visits * (4.0 * self.width + 2.0 * self.hidden), self.visits * self.width, read, written)


@dataclass(frozen=True)
class Vector:
    """Row-wise work of the vector unit (norm, activation, residual, rotary, sampling); axis: m (rows)."""

    width: int  # elements per row
    flops_per_element: float
    exps_per_element: float
    read_bytes_per_row: float
    write_bytes_per_row: float


class Convolution(Vector):
    """A short causal convolution over `width` channels and its activation; axis: m (tokens)."""


@dataclass(frozen=True)
class Attention:
    """All heads of one rank, of one layer.

    value_dim: of values, None: as keys, and the kernels of full attention run it; 0: scores alone (an indexer). span: tokens of a
    window, or of a run of tokens (`chunked`), outside of which nothing is seen. top_k: keys that an indexer has picked.
    one_vector: a token's one vector is its key and its value (latent attention). ratio: tokens that one cached vector stands for.
    expands: multiply-adds a head in which keys and values of a token of the context are made from its latent; 0: they are cached.
    """

    heads: int
    kv_heads: int
    head_dim: int
    kv_bits: int
    activation_bits: int
    value_dim: int | None = None
    span: int | None = None
    chunked: bool = False
    top_k: int | None = None
    one_vector: bool = False
    ratio: int = 1
    expands: int = 0

    @property
    def matrix_bits(self) -> int:
        """Bits of the wider operand, which sets the rate of multiply-adds."""
        return max(self.kv_bits, self.activation_bits)

    @property
    def values(self) -> int:
        """Elements of a value that each query head sums up."""
        return self.head_dim if self.value_dim is None else self.value_dim

    @property
    def kind(self) -> AttentionKind:
        """Which kernels run it: those of full attention, or others."""
        if self.value_dim == 0:
            return "index"
        if self.one_vector:
            return "sparse" if self.top_k is not None or self.ratio > 1 else "latent"
        if self.span is not None:
            return "window"
        if self.top_k is not None:
            return "sparse"
        return "full" if self.value_dim is None else "latent"

    @property
    def kv_bytes(self) -> float:
        """Keys and values of one token."""
        each = self.head_dim + (0 if self.one_vector else self.values)
        return self.kv_heads * each * self.kv_bits / 8

    @property
    def query_bytes(self) -> float:
        """Queries read and results written, of one token."""
        return self.heads * (self.head_dim * self.activation_bits / 8 + self.values * OUTPUT_BYTES)

    @property
    def flops_per_pair(self) -> float:
        """Of the matrix unit, for one query token and one key, all heads."""
        return 2.0 * self.heads * (self.head_dim + self.values)

    @property
    def plain(self) -> bool:
        """Whether every token sees every token before it."""
        return self.span is None and self.top_k is None and self.ratio == 1

    @property
    def most_keys(self) -> float:
        """Keys that a token can see."""
        return float(min(self.span if self.span is not None else inf, self.top_k if self.top_k is not None else inf))


class PrefillAttention(Attention):
    """Causal attention of one chunk of one sequence; axes: chunk, context (tokens before it)."""


class DecodeAttention(Attention):
    """One new token for each of a batch of sequences; axes: sequences, mean context (float)."""


AttentionKind = Literal["full", "window", "latent", "sparse", "index"]


def causal_pairs(chunk: Number, context: Number) -> Number:
    """Query-key pairs per head of a chunk: every token attends to the context, itself and the chunk's tokens before it."""
    return chunk * context + chunk * (chunk + 1) / 2


def seen_pairs(operator: Attention, chunk: NDArray[np.float64], context: NDArray[np.float64]) -> NDArray[np.float64]:
    """`causal_pairs` of a chunk where `operator` may not see every token before."""
    if operator.plain:
        return np.asarray(causal_pairs(chunk, context))
    if operator.chunked:
        return _pairs_in_runs(context + chunk, operator.most_keys) - _pairs_in_runs(context, operator.most_keys)
    most, ratio = operator.most_keys, operator.ratio
    growing = np.clip(most * ratio - context, 0.0, chunk)  # tokens that see less than the most
    full = np.where(chunk > growing, (chunk - growing) * min(most, 1e18), 0.0)
    return np.asarray(causal_pairs(growing, context) / ratio + full)


def _pairs_in_runs(tokens: NDArray[np.float64], span: float) -> NDArray[np.float64]:
    """Pairs of the first `tokens` tokens of a sequence, each of which sees those of its own run of `span`."""
    runs = np.floor(tokens / span)
    rest = tokens - runs * span
    return np.asarray(runs * (span * (span + 1) / 2) + rest * (rest + 1) / 2)


def seen_keys(operator: Attention, context: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys that a new token sees, its own included, of a mean `context` with its own. In runs it is at a random place of one."""
    if operator.plain:
        return context
    most = operator.most_keys
    if operator.chunked:
        inside = np.minimum(context, most)
        return np.asarray(np.where(context > most, most / 2 * (1 + most / np.maximum(context, 1.0)), inside))
    return np.asarray(np.minimum(context / operator.ratio, most))


StateKind = Literal["mamba", "mamba2", "gated_delta_net", "kda", "lightning"]


@dataclass(frozen=True)
class State:
    """The recurrence of one layer on one rank: `heads` states of `state` x `head_dim` values; keys shared by `groups` of heads."""

    kind: StateKind
    heads: int
    head_dim: int
    state: int
    groups: int
    state_bits: int

    @property
    def token_bytes(self) -> float:
        """Queries, keys, values, gates read and results written, of one token, in 16 bits."""
        return OUTPUT_BYTES * (2 * self.groups * self.state + 2 * self.heads * self.head_dim)

    @property
    def state_bytes(self) -> float:
        """Of one sequence."""
        return self.heads * self.head_dim * self.state * self.state_bits / 8

    @property
    def token_flops(self) -> float:
        """Of a token in a decode: decay, update and reading of every state value, and the delta rule's correction."""
        passes = 3.0 if self.kind in ("gated_delta_net", "kda") else 2.0
        return 2.0 * passes * self.heads * self.head_dim * self.state


class PrefillState(State):
    """A chunk of one sequence, in blocks of STATE_BLOCK tokens; axes: chunk, context (which changes nothing)."""


class DecodeState(State):
    """One new token for each of a batch of sequences; axes: sequences, context (which changes nothing)."""


STATE_BLOCK = 64  # tokens that the chunked form of a recurrence takes at once (fla-org/flash-linear-attention, BT = 64)


def chunked_flops(operator: State) -> float:
    """Multiply-adds x 2 of a token in the chunked form: scores and results inside a block, the state read and updated, and for
    the delta rule the block's triangular system (Yang et al., "Parallelizing Linear Transformers with the Delta Rule")."""
    keys, values, delta = operator.state, operator.head_dim, operator.kind in ("gated_delta_net", "kda")
    inside = STATE_BLOCK * (keys + values) * (2 if delta else 1)
    return 2.0 * operator.heads * (inside + keys * values * (3 if delta else 2))


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
Operator = (Gemm | GroupedGemm | ExpertBlock | Vector | PrefillAttention | DecodeAttention | PrefillState | DecodeState
            | Collective)

AXES: dict[type, tuple[str, ...]] = {
    Gemm: ("rows",),
    GroupedGemm: ("rows",),
    ExpertBlock: ("rows",),
    Vector: ("rows",),
    Convolution: ("rows",),
    Collective: ("rows",),
    PrefillAttention: ("chunk", "context"),
    DecodeAttention: ("sequences", "context"),
    PrefillState: ("chunk", "context"),
    DecodeState: ("sequences", "context"),
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
