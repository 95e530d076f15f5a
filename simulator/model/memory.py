"""Bytes of a model on one rank: weights, KV cache, activations. Closed forms from the dimensions."""

from __future__ import annotations

from simulator.model.layers import STREAM_BYTES
from simulator.model.sharding import shard, stage_layers
from simulator.schema.model import Architecture, Precision

# Bytes alive per logit when vLLM sizes its memory: 16-bit logits 2 and their fp32 copy 4 (v1/sample/sampler.py). Sorted
# copies for top-k and top-p would be 20 more, but recorded capacities leave no room for them (scripts/validate_serving.py:
# on an RTX A6000 the capacity at budgets 2,048 and 8,192 differs by exactly the MLP's buffers).
SAMPLER_BYTES_PER_LOGIT = 6


def parameters(arch: Architecture) -> int:
    """Trainable parameters of the whole model; tied embeddings count once."""
    matrices, vectors = _block_parameters(arch, arch.heads, arch.kv_heads, arch.intermediate)
    width = arch.embedding_dim or arch.hidden
    total = arch.layers * (matrices + vectors) + _norm_parameters(arch) + arch.vocab * width
    if not arch.tied_embeddings:
        total += arch.vocab * width
    if arch.learned_positions:
        total += arch.max_positions * arch.hidden
    if arch.embedding_dim:
        total += 2 * width * arch.hidden
    return total


def weight_bytes(arch: Architecture, precision: Precision, tensor: int, pipeline: int) -> tuple[float, ...]:
    """Bytes of weights on one rank of each pipeline stage, shape [pipeline].

    Block matrices are held in `precision.weights`; embedding, head, norms and biases in 16 bits (vLLM quantises linear
    layers only). Tied embeddings are one copy when first and last stage are the same, else each holds its own.
    """
    part = shard(arch, tensor)
    matrices, vectors = _block_parameters(arch, part.heads, part.kv_heads, part.intermediate)
    block = matrices * precision.weight_bits / 8 + vectors * STREAM_BYTES
    width = arch.embedding_dim or arch.hidden
    table = float(part.vocab * width * STREAM_BYTES)
    projection = width * arch.hidden * STREAM_BYTES if arch.embedding_dim else 0
    positions = arch.max_positions * arch.hidden * STREAM_BYTES if arch.learned_positions else 0
    stages = [layers * block for layers in stage_layers(arch.layers, pipeline)]
    stages[0] += table + projection + positions
    stages[-1] += projection + _norm_parameters(arch) * STREAM_BYTES
    if not arch.tied_embeddings or pipeline > 1:
        stages[-1] += table
    return tuple(stages)


def kv_bytes_per_token(arch: Architecture, precision: Precision, tensor: int, layers: int | None = None) -> float:
    """KV-cache bytes that one token occupies on one rank that holds `layers` blocks (default: all of them)."""
    width = shard(arch, tensor).kv_width(arch.head_dim)
    return 2 * width * precision.kv_bits / 8 * (arch.layers if layers is None else layers)


def activation_bytes(arch: Architecture, tensor: int, tokens: int, sequences: int) -> float:
    """Peak bytes of temporaries in a step of `tokens` new tokens in `sequences` sequences, on one rank.

    The larger of a block (residual and hidden states beside the widest pair of live buffers) and of sampling (gathered
    16-bit logits and their fp32 copy of every sequence, beside the hidden states; probabilities overwrite the copy).
    """
    part = shard(arch, tensor)
    q, kv = part.q_width(arch.head_dim), part.kv_width(arch.head_dim)
    attention = (q + 2 * kv) + q  # fused QKV and attention output
    mlp = (2 if arch.gated_mlp else 1) * part.intermediate + part.intermediate  # up projection(s) and activation
    block = tokens * (2 * arch.hidden + max(attention, mlp)) * STREAM_BYTES
    logits = sequences * part.vocab * tensor * SAMPLER_BYTES_PER_LOGIT
    return float(max(block, 2 * tokens * arch.hidden * STREAM_BYTES + logits))


def _norm_parameters(arch: Architecture) -> int:
    return arch.hidden if arch.norm == "rms" else 2 * arch.hidden


def _block_parameters(arch: Architecture, heads: int, kv_heads: int, intermediate: int) -> tuple[int, int]:
    """(matrix elements, bias and norm elements) of a decoder block with these shares of heads and MLP."""
    q, kv = heads * arch.head_dim, kv_heads * arch.head_dim
    up = (2 if arch.gated_mlp else 1) * intermediate
    matrices = arch.hidden * (q + 2 * kv) + q * arch.hidden + arch.hidden * up + intermediate * arch.hidden
    vectors = 2 * _norm_parameters(arch)
    if arch.qkv_bias:
        vectors += q + 2 * kv
    if arch.output_bias:
        vectors += arch.hidden
    if arch.mlp_bias:
        vectors += up + arch.hidden
    if arch.qk_norm:
        vectors += 2 * arch.head_dim
    return matrices, vectors
