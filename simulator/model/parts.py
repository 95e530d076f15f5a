"""How many parameters each part of a model has: on one tensor-parallel rank, or (one rank) in all.

Matrices are cut as vLLM cuts them: attention by heads, with KV heads replicated where there are more ranks; down-projections
of latent attention, indexers, compressors and routers whole on every rank; MLPs along their width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from simulator.design.records.layers import (
    BesideAttention,
    BlockSparseAttention,
    CompressedAttention,
    DenseMlp,
    ExpertsMlp,
    Indexer,
    LatentAttention,
    LayerType,
    SoftmaxAttention,
    StateAttention,
)
from simulator.design.records.model import Architecture, PartName
from simulator.model.layer_types import in_order

MatrixPart = PartName | Literal["router"]  # routers and latent projections around experts stay in 16 bits


@dataclass(frozen=True)
class LayerParts:
    """One rank's share of one layer. matrices: elements by part. vectors: 16-bit elements (norms, biases)."""

    matrices: dict[MatrixPart, int] = field(hash=False)
    vectors: int

    @property
    def total(self) -> int:
        return sum(self.matrices.values()) + self.vectors


@dataclass(frozen=True)
class ModelParts:
    """Parameters of the whole model by part; they add up to `total`."""

    attention: int
    mlp: int
    experts: int
    shared_experts: int
    other: int  # norms, biases, routers, convolutions
    embedding: int
    head: int  # 0 where it is the embedding's table
    vision: int

    @property
    def text(self) -> int:
        """The language model's: tied tables once, vision tower and draft layers left out."""
        return self.attention + self.mlp + self.experts + self.shared_experts + self.other + self.embedding + self.head


def model_parts(arch: Architecture) -> ModelParts:
    """Parameters of `arch` by part, every matrix once."""
    sums: dict[str, int] = {}
    other = norm_parameters(arch) + (arch.other_parameters or 0)
    if arch.layer_types is not None:
        other -= norm_parameters(arch)  # all in other_parameters
    for kind in in_order(arch):
        found = layer_parts(arch, kind, 1)
        other += found.vectors
        for part, elements in found.matrices.items():
            sums[part] = sums.get(part, 0) + elements
    width = arch.embedding_dim or arch.hidden
    embedding = arch.vocab * width + (arch.max_positions * arch.hidden if arch.learned_positions else 0)
    if arch.embedding_dim:
        embedding += 2 * width * arch.hidden
    return ModelParts(attention=sums.get("attention", 0) + sums.get("attention_output", 0), mlp=sums.get("mlp", 0),
                      experts=sums.get("experts", 0), shared_experts=sums.get("shared_experts", 0),
                      other=other + sums.get("router", 0), embedding=embedding,
                      head=0 if arch.tied_embeddings else arch.vocab * width, vision=arch.vision_parameters or 0)


def norm_parameters(arch: Architecture) -> int:
    """Of one norm of the residual stream."""
    return arch.hidden if arch.norm == "rms" else 2 * arch.hidden


@lru_cache(maxsize=4096)
def layer_parts(arch: Architecture, kind: LayerType, tensor: int, data: int = 1) -> LayerParts:
    """One rank's share of a layer of `kind`. data: engines of `tensor` ranks that share the experts."""
    matrices = _attention(kind, arch.hidden, tensor)
    match kind.mlp:
        case DenseMlp(width=width, gated=gated):
            matrices["mlp"] = _mlp(arch.hidden, width // tensor, gated)
        case ExpertsMlp() as mlp:
            stream = mlp.latent or arch.hidden
            matrices["experts"] = (3 if mlp.gated else 2) * stream * (mlp.experts * mlp.width // (tensor * data))
            matrices["router"] = mlp.experts * arch.hidden + 2 * arch.hidden * mlp.latent
            if mlp.shared_width:
                matrices["shared_experts"] = _mlp(arch.hidden, mlp.shared_width // tensor, mlp.gated)
            if mlp.dense_width:
                matrices["mlp"] = _mlp(arch.hidden, mlp.dense_width // tensor, mlp.gated)
    vectors = kind.vectors
    if arch.layer_types is None:
        vectors = arch.vectors(routed=isinstance(kind.mlp, ExpertsMlp), tensor=tensor)
    return LayerParts(matrices, vectors)


def _mlp(hidden: int, width: int, gated: bool) -> int:
    return (3 if gated else 2) * hidden * width


def _attention(kind: LayerType, hidden: int, tensor: int) -> dict[MatrixPart, int]:
    """(elements of everything before the output projection, of the output projection)."""
    match kind.attention:
        case SoftmaxAttention() as attention:
            inner, output = _softmax(attention, hidden, tensor)
        case LatentAttention() as latent:
            inner, output = _latent(latent, hidden, tensor)
        case CompressedAttention() as compressed:
            inner, output = _compressed(compressed, hidden, tensor)
        case BlockSparseAttention() as sparse:
            plain = SoftmaxAttention(kind="full", heads=sparse.heads, kv_heads=sparse.kv_heads, head_dim=sparse.head_dim)
            inner, output = _softmax(plain, hidden, tensor)
            inner += hidden * (sparse.index_heads + 1) * sparse.index_dim
        case StateAttention() as state:
            inner, output = _STATES[state.kind](state, hidden, tensor)
        case BesideAttention(attention=attention, state=state):
            (inner, output), (more, out) = _softmax(attention, hidden, tensor), _STATES[state.kind](state, hidden, tensor)
            inner, output = inner + more, output + out
        case _:
            return {}
    return {"attention": inner, "attention_output": output}


def _softmax(a: SoftmaxAttention, hidden: int, tensor: int) -> tuple[int, int]:
    heads, kv = a.heads // tensor, max(1, a.kv_heads // tensor)
    values = a.value_dim or a.head_dim
    inner = hidden * heads * a.head_dim
    if a.output_gate:
        inner += hidden * heads * values
    if not a.shares_kv:
        inner += hidden * kv * (a.head_dim + (0 if a.keys_are_values else values))
    return inner, heads * values * hidden


def _latent(a: LatentAttention, hidden: int, tensor: int) -> tuple[int, int]:
    heads = a.heads // tensor
    queries = heads * (a.nope_dim + a.rope_dim)
    inner = hidden * a.q_rank + a.q_rank * queries if a.q_rank else hidden * queries
    inner += hidden * (a.kv_rank + a.rope_dim) + a.kv_rank * heads * (a.nope_dim + a.value_dim)
    if a.output_gate:
        inner += hidden * heads * a.value_dim
    if a.indexer is not None and not a.indexer.shared:
        inner += _indexer(a.indexer, hidden, a.q_rank or hidden) + hidden * a.indexer.head_dim
    return inner, heads * a.value_dim * hidden


def _indexer(index: Indexer, hidden: int, q_rank: int) -> int:
    """Query projection and weights of the heads; keys are counted where they are made."""
    return q_rank * index.heads * index.head_dim + hidden * index.heads


def _compressed(a: CompressedAttention, hidden: int, tensor: int) -> tuple[int, int]:
    heads = a.heads // tensor
    inner = hidden * a.q_rank + a.q_rank * heads * a.head_dim + hidden * a.head_dim
    # a compressor projects to values and gates; with an indexer windows overlap, hence twice the width (DeepSeek-V4 report)
    if a.ratio:
        inner += 2 * hidden * a.head_dim * (2 if a.indexer else 1)
    if a.indexer is not None:
        inner += _indexer(a.indexer, hidden, a.q_rank) + 2 * hidden * 2 * a.indexer.head_dim
    groups = max(1, a.output_groups // tensor)
    return inner, heads * a.head_dim * a.output_rank + groups * a.output_rank * hidden


def _mamba(a: StateAttention, hidden: int, tensor: int) -> tuple[int, int]:
    width = a.heads * a.head_dim // tensor
    return 2 * hidden * width + width * (a.rank + 2 * a.state) + a.rank * width, width * hidden


def _mamba2(a: StateAttention, hidden: int, tensor: int) -> tuple[int, int]:
    heads, groups = a.heads // tensor, max(1, a.groups // tensor)
    width = heads * a.head_dim
    return hidden * (2 * width + 2 * groups * a.state + heads), width * hidden


def _gated_delta_net(a: StateAttention, hidden: int, tensor: int) -> tuple[int, int]:
    heads, keys = a.heads // tensor, max(1, a.groups // tensor) * a.state
    return hidden * (2 * keys + 2 * heads * a.head_dim + 2 * heads), heads * a.head_dim * hidden


def _kda(a: StateAttention, hidden: int, tensor: int) -> tuple[int, int]:
    heads = a.heads // tensor
    width = heads * a.head_dim
    gate = hidden * a.gate_rank + a.gate_rank * width if a.gate_rank else hidden * width
    return 3 * hidden * width + hidden * a.rank + a.rank * width + gate + hidden * heads, width * hidden


def _lightning(a: StateAttention, hidden: int, tensor: int) -> tuple[int, int]:
    width = a.heads * a.head_dim // tensor
    return 4 * hidden * width, width * hidden


def _short_conv(a: StateAttention, hidden: int, tensor: int) -> tuple[int, int]:
    width = a.heads * a.head_dim // tensor
    return 3 * hidden * width, width * hidden


_STATES: dict[str, Callable[[StateAttention, int, int], tuple[int, int]]] = {
    "mamba": _mamba, "mamba2": _mamba2, "gated_delta_net": _gated_delta_net, "kda": _kda, "lightning": _lightning,
    "short_conv": _short_conv,
}
