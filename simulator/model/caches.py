"""What every layer keeps of the tokens before: bytes per token of keys and values, bytes of a state, on one rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.design.records.layers import (
    BesideAttention,
    BlockSparseAttention,
    CompressedAttention,
    Indexer,
    LatentAttention,
    LayerType,
    SoftmaxAttention,
    StateAttention,
)
from simulator.design.records.model import Architecture, Precision
from simulator.model.layer_types import in_order

CacheKind = Literal["full", "window", "chunk", "latent", "index", "compressed", "state"]

# An indexer's key of one token: fp8 values and one fp32 scale per 128 of them (vllm/v1/attention/backends/mla/indexer.py)
_INDEX_SCALE_BYTES, _INDEX_SCALE_OF = 4, 128
_STATE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
_CONV_BYTES = 2  # the convolution's inputs are kept in the model's 16 bits


@dataclass(frozen=True)
class Cache:
    """One cache of one layer on one rank. bytes_per_token: 0 for a state. span: tokens of a window or chunk, tokens per entry
    of a compressed cache, else 0. state_bytes: of one sequence's state, else 0."""

    kind: CacheKind
    bytes_per_token: float
    span: int = 0
    state_bytes: int = 0


def caches(arch: Architecture, precision: Precision, tensor: int, draft_tokens: int = 0) -> tuple[Cache, ...]:
    """Every cache of every layer in order; a layer may have none (an MLP alone), or several (keys of an indexer)."""
    return tuple(cache for kind in in_order(arch) for cache in layer_caches(kind, precision, tensor, draft_tokens))


def layer_caches(kind: LayerType, precision: Precision, tensor: int, draft_tokens: int = 0) -> tuple[Cache, ...]:
    """The caches of a layer of `kind`. draft_tokens: speculative tokens of a step, which a convolution's state also keeps."""
    element = precision.kv_bits / 8
    match kind.attention:
        case SoftmaxAttention() as a:
            return _softmax(a, element, tensor)
        case LatentAttention() as a:
            return (Cache("latent", (a.kv_rank + a.rope_dim) * element), *_index(a.indexer))
        case CompressedAttention() as a:
            window = Cache("window", a.head_dim * element, a.span)
            entries = (Cache("compressed", a.head_dim * element / a.ratio, a.ratio),) if a.ratio else ()
            index = tuple(Cache("index", c.bytes_per_token / a.ratio, a.ratio) for c in _index(a.indexer))
            return (window, *entries, *index)
        case BlockSparseAttention() as a:
            kv = max(1, a.kv_heads // tensor)
            return (Cache("full", 2 * kv * a.head_dim * element), Cache("index", a.index_dim * 2.0))
        case StateAttention() as a:
            return (Cache("state", 0.0, 0, state_bytes(a, tensor, draft_tokens)),)
        case BesideAttention(attention=attention, state=state):
            return (*_softmax(attention, element, tensor), Cache("state", 0.0, 0, state_bytes(state, tensor, draft_tokens)))
    return ()


def state_bytes(a: StateAttention, tensor: int, draft_tokens: int = 0) -> int:
    """One sequence's state in one layer on one rank: the convolution's last inputs and the recurrent state."""
    heads = a.heads / tensor
    width = a.heads * a.head_dim
    conv_width = {"mamba": width, "mamba2": width + 2 * a.groups * a.state, "gated_delta_net": 2 * a.groups * a.state + width,
                  "kda": 3 * width, "lightning": 0, "short_conv": width}[a.kind]
    conv = conv_width / tensor * (a.kernel - 1 + draft_tokens) * _CONV_BYTES if a.kernel else 0
    return int(conv + heads * a.head_dim * a.state * _STATE_BYTES[a.state_dtype])


def kv_bytes_per_token(arch: Architecture, precision: Precision, tensor: int) -> dict[CacheKind, float]:
    """Bytes that one more token takes on one rank, by kind of cache, all layers; windows and chunks while they fill."""
    found: dict[CacheKind, float] = {}
    for cache in caches(arch, precision, tensor):
        if cache.bytes_per_token:
            found[cache.kind] = found.get(cache.kind, 0.0) + cache.bytes_per_token
    return found


def _softmax(a: SoftmaxAttention, element: float, tensor: int) -> tuple[Cache, ...]:
    if a.shares_kv:
        return ()
    per_token = max(1, a.kv_heads // tensor) * (a.head_dim + (a.value_dim or a.head_dim)) * element
    return (Cache(a.kind, per_token, a.span or 0),)


def _index(indexer: Indexer | None) -> tuple[Cache, ...]:
    if indexer is None or indexer.shared:
        return ()
    scales = -(-indexer.head_dim // _INDEX_SCALE_OF) * _INDEX_SCALE_BYTES
    return (Cache("index", float(indexer.head_dim + scales)),)
