"""Layer types: what kinds of attention and of MLP a decoder's layers are made of.

A model whose layers differ is a list of (attention, MLP, count); models with one kind of full attention are written with the
flat keys of `Architecture` instead. Sizes are of the whole layer, before tensor parallelism cuts it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.design.records.base import Count, PositiveInt, Record, Sequence

StateDtype = Literal["bf16", "fp16", "fp32"]


class SoftmaxAttention(Record):
    """MHA, GQA or MQA over every token before (`full`), the last `span` tokens (`window`), or those of the same run of `span`
    tokens (`chunk`)."""

    kind: Literal["full", "window", "chunk"]
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt  # of queries and keys
    value_dim: PositiveInt | None = None  # of values, where it is another
    span: PositiveInt | None = None  # tokens of a window or chunk
    output_gate: bool = False  # the query projection also makes a gate as wide as the attention's output
    keys_are_values: bool = False  # no value projection: values are the keys before their norm (Gemma 4's full layers)
    shares_kv: bool = False  # reads the cache of an earlier layer, has none of its own

    @model_validator(mode="after")
    def _complete(self) -> SoftmaxAttention:
        if (self.span is None) != (self.kind == "full"):
            raise ValueError(f"attention of kind '{self.kind}' {'has no' if self.kind == 'full' else 'needs a'} span")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class Indexer(Record):
    """Scores all tokens with small keys of its own; the best `top_k` are attended (DeepSeek sparse attention)."""

    heads: PositiveInt
    head_dim: PositiveInt
    top_k: PositiveInt
    shared: bool = False  # takes the choice of an earlier layer: no weights and no keys of its own


class LatentAttention(Record):
    """Multi-head latent attention (DeepSeek-V2): one compressed key and value per token, `kv_rank` + `rope_dim` values.

    With an indexer it is sparse over the latents.
    """

    kind: Literal["latent"] = "latent"
    heads: PositiveInt
    q_rank: PositiveInt | None = None  # None: queries are projected in one step
    kv_rank: PositiveInt
    nope_dim: PositiveInt
    rope_dim: PositiveInt
    value_dim: PositiveInt
    output_gate: bool = False  # a projection of the layer's input as wide as the attention's output
    indexer: Indexer | None = None


class CompressedAttention(Record):
    """DeepSeek-V4: MQA whose one vector of `head_dim` per token is key and value, over a window of `span` tokens and over one
    compressed vector for every `ratio` tokens; with an indexer only its best `top_k` compressed vectors are attended."""

    kind: Literal["compressed"] = "compressed"
    heads: PositiveInt
    head_dim: PositiveInt
    q_rank: PositiveInt
    output_groups: PositiveInt
    output_rank: PositiveInt  # of each group
    span: PositiveInt
    ratio: Count = 0  # 0: the window alone
    indexer: Indexer | None = None


class BlockSparseAttention(Record):
    """GQA over the `top_k` blocks of `block` tokens that an indexer of `index_heads` with keys of `index_dim` picks
    (MiniMax-M3); the cache holds every token."""

    kind: Literal["block_sparse"] = "block_sparse"
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    block: PositiveInt
    top_k: PositiveInt
    index_heads: PositiveInt
    index_dim: PositiveInt


class StateAttention(Record):
    """A recurrent layer: a state of fixed size per sequence in place of keys and values.

    mamba: `width` channels of `state` values each. mamba2: `heads` x `head_dim` x `state`, keys shared by `groups`.
    gated_delta_net: `heads` value heads of `head_dim`, `key_heads` keys of `state`. kda: `heads` x `head_dim` x `state`.
    lightning: the same without a convolution. short_conv: a convolution alone over `width` channels.
    """

    kind: Literal["mamba", "mamba2", "gated_delta_net", "kda", "lightning", "short_conv"]
    heads: PositiveInt
    head_dim: PositiveInt
    state: Count
    groups: PositiveInt = 1  # mamba2: groups of keys; gated_delta_net: key heads
    kernel: Count = 0  # taps of the causal convolution; 0: none
    rank: Count = 0  # mamba: of the time step; kda: of the forget gate
    gate_rank: Count = 0  # kda: of the output gate; 0: a full matrix
    state_dtype: StateDtype = "fp32"


class BesideAttention(Record):
    """Attention and a recurrent mixer side by side in one layer (Falcon-H1): both a cache and a state."""

    kind: Literal["beside"] = "beside"
    attention: SoftmaxAttention
    state: StateAttention


class NoAttention(Record):
    """A layer that is an MLP alone (Nemotron-H)."""

    kind: Literal["none"] = "none"


Attention = Annotated[SoftmaxAttention | LatentAttention | CompressedAttention | BlockSparseAttention | StateAttention
                      | BesideAttention | NoAttention, Field(discriminator="kind")]


class DenseMlp(Record):
    kind: Literal["dense"] = "dense"
    width: PositiveInt
    gated: bool


class ExpertsMlp(Record):
    """`experts` MLPs of `width`, of which a router picks `per_token`, beside MLPs that every token visits: `shared_width` in
    all (0: none), and a plain MLP of `dense_width` (Arctic's dense residual; 0: none). With `latent` the routed experts work
    on the residual stream projected down to that width (Nemotron-3)."""

    kind: Literal["experts"] = "experts"
    experts: PositiveInt
    per_token: PositiveInt
    width: PositiveInt
    gated: bool
    shared_width: Count = 0
    dense_width: Count = 0
    latent: Count = 0

    @model_validator(mode="after")
    def _enough(self) -> ExpertsMlp:
        if self.per_token > self.experts:
            raise ValueError(f"per_token ({self.per_token}) is above experts ({self.experts})")
        return self


class NoMlp(Record):
    kind: Literal["none"] = "none"


Mlp = Annotated[DenseMlp | ExpertsMlp | NoMlp, Field(discriminator="kind")]


class LayerType(Record):
    """One kind of layer. vectors: parameters that are no matrix of attention, MLP or experts (norms, biases, sinks,
    convolutions, gates, hyper-connections); on every rank, in 16 bits."""

    name: str
    attention: Attention
    mlp: Mlp
    vectors: Count = 0


class Run(Record):
    """Layer types by name, one after the other, the whole `repeat` times."""

    types: Annotated[tuple[str, ...], Sequence]
    repeat: PositiveInt = 1
