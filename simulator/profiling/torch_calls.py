"""Every operator as a PyTorch call on tensors of its shape, bf16, weights and caches allocated before the clock starts.

Attention is `scaled_dot_product_attention` (flash on a GPU) over keys and values that lie together, sequence by sequence:
what a paged kernel reads, without the copy that gathering pages in PyTorch would add; where the package `flash_attn` is
installed, decodes run its paged kernel on shuffled pages instead.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

from simulator.design.records.model import Architecture
from simulator.inputs.errors import InputError
from simulator.model.operators import DecodeAttention, Gemm, PrefillAttention, Vector
from simulator.profiling.plan import Point

Call = Callable[[], object]
PAGE = 256  # tokens of a page: what flash_attn's paged kernel asks for
VOCABULARY_ROWS = 1 << 15  # of an embedding, at most: larger than any cache at the width of a large model


def has_paged_kernel(device: str) -> bool:
    """Whether decodes run a real paged kernel here."""
    return device == "cuda" and importlib.util.find_spec("flash_attn") is not None


def call_of(torch: Any, point: Point, arch: Architecture, device: str) -> Call:
    """The call that runs `point`. Raises InputError for an operator that has none."""
    op = point.operator
    if isinstance(op, Gemm):
        return _gemm(torch, op, point.axes[0], device)
    if isinstance(op, Vector):
        return _vector(torch, point.name, op, point.axes[0], arch, device)
    if isinstance(op, PrefillAttention):
        return _prefill(torch, op, point.axes[0], point.axes[1], device)
    if isinstance(op, DecodeAttention):
        return _decode(torch, op, point.axes[0], point.axes[1], device)
    raise InputError(f"no PyTorch call for {type(op).__name__}")


def _random(torch: Any, *shape: int, device: str) -> Any:
    return torch.randn(*shape, dtype=torch.bfloat16, device=device)


@functools.lru_cache(maxsize=1)
def _weights(torch: Any, n: int, k: int, device: str) -> Any:
    """Kept from one row count to the next: filling them takes longer than the GEMM."""
    return _random(torch, n, k, device=device)


def _gemm(torch: Any, op: Gemm, rows: int, device: str) -> Call:
    x, weight = _random(torch, rows, op.k, device=device), _weights(torch, op.n, op.k, device)
    linear = torch.nn.functional.linear
    return lambda: linear(x, weight)


def _vector(torch: Any, name: str, op: Vector, rows: int, arch: Architecture, device: str) -> Call:
    nn = torch.nn.functional
    x = _random(torch, rows, op.width, device=device)
    if name.endswith("norm"):
        weight, other = _random(torch, op.width, device=device), torch.zeros_like(x)
        if name == "qk_norm":
            heads, gain = x.view(rows, -1, arch.head_dim), weight[: arch.head_dim]
            return lambda: nn.rms_norm(heads, (arch.head_dim,), gain)
        if arch.norm == "rms":
            return lambda: nn.rms_norm(other.add_(x), (op.width,), weight)
        return lambda: nn.layer_norm(other.add_(x), (op.width,), weight, weight)
    if name == "activation":
        gate = _random(torch, rows, op.width, device=device)
        return (lambda: nn.silu(gate) * x) if arch.gated_mlp else (lambda: nn.gelu(x, approximate="tanh"))
    if name == "rotary":
        half = x.view(rows, 2, -1)
        cos, sin = _random(torch, rows, half.shape[2], device=device), _random(torch, rows, half.shape[2], device=device)
        return lambda: torch.stack((half[:, 0] * cos - half[:, 1] * sin, half[:, 1] * cos + half[:, 0] * sin), dim=1)
    if name == "kv_cache_write":
        cache, slots = torch.empty(2 * rows, op.width, dtype=x.dtype, device=device), torch.randperm(2 * rows, device=device)[:rows]
        return lambda: cache.index_copy_(0, slots, x)
    if name in ("embedding", "position_embedding"):
        table = _weights(torch, min(arch.vocab, VOCABULARY_ROWS), op.width, device)
        ids = torch.randint(0, len(table), (rows,), device=device)
        return lambda: nn.embedding(ids, table)
    if name == "sampling":
        return lambda: _sample(torch, x)
    raise InputError(f"no PyTorch call for operator '{name}'")


def _sample(torch: Any, logits: Any) -> Any:
    """One token a row: the largest of probability over exponential noise is a draw (the exponential race), and unlike
    `multinomial` it never waits for the host, which a captured graph may not."""
    probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
    return (probabilities / torch.empty_like(probabilities).exponential_()).argmax(dim=-1)


def _prefill(torch: Any, op: PrefillAttention, chunk: int, context: int, device: str) -> Call:
    q = _random(torch, 1, op.heads, chunk, op.head_dim, device=device)
    k, v = (_random(torch, 1, op.kv_heads, context + chunk, op.head_dim, device=device) for _ in range(2))
    attend, grouped = torch.nn.functional.scaled_dot_product_attention, op.heads != op.kv_heads
    if context == 0:
        return lambda: attend(q, k, v, is_causal=True, enable_gqa=grouped)
    from torch.nn.attention.bias import causal_lower_right

    return lambda: attend(q, k, v, attn_mask=causal_lower_right(chunk, context + chunk), enable_gqa=grouped)


def _decode(torch: Any, op: DecodeAttention, sequences: int, context: int, device: str) -> Call:
    if has_paged_kernel(device):
        return _paged_decode(torch, op, sequences, context, device)
    q = _random(torch, sequences, op.heads, 1, op.head_dim, device=device)
    k, v = (_random(torch, sequences, op.kv_heads, context, op.head_dim, device=device) for _ in range(2))
    attend, grouped = torch.nn.functional.scaled_dot_product_attention, op.heads != op.kv_heads
    return lambda: attend(q, k, v, enable_gqa=grouped)


def _paged_decode(torch: Any, op: DecodeAttention, sequences: int, context: int, device: str) -> Call:
    from flash_attn import flash_attn_with_kvcache

    pages = -(-context // PAGE)
    q = _random(torch, sequences, 1, op.heads, op.head_dim, device=device)
    k, v = (_random(torch, sequences * pages, PAGE, op.kv_heads, op.head_dim, device=device) for _ in range(2))
    table = torch.randperm(sequences * pages, dtype=torch.int32, device=device).view(sequences, pages)
    lengths = torch.full((sequences,), context, dtype=torch.int32, device=device)
    return lambda: flash_attn_with_kvcache(q, k, v, cache_seqlens=lengths, block_table=table, causal=True)
