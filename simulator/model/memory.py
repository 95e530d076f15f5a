"""Bytes of a model on one rank: weights, KV cache, activations. Closed forms from the dimensions."""

from __future__ import annotations

from simulator.design.records.model import Architecture, Precision
from simulator.model.layers import STREAM_BYTES
from simulator.model.sharding import shard, stage_layers

# Bytes alive per logit when vLLM sizes its memory: 16-bit logits 2 and their fp32 copy 4 (v1/sample/sampler.py). Capacities
# recorded with 0.19, whose Triton kernel masks in place, leave no room for more (scripts/validate_serving.py: on an RTX A6000
# the capacity at budgets 2,048 and 8,192 differs by exactly the MLP's buffers).
SAMPLER_BYTES_PER_LOGIT = 6
# Versions that sort for top-k and top-p hold sorted values 4, their indices 8, probabilities and running sums 8 as well.
SORTING_SAMPLER_BYTES_PER_LOGIT = 26


def parameters(arch: Architecture) -> int:
    """Trainable parameters of the whole model; tied embeddings count once."""
    width = arch.embedding_dim or arch.hidden
    dense, routed = (sum(_block_parameters(arch, 1, experts=e)) for e in (False, True))
    total = (arch.layers - arch.expert_layers) * dense + arch.expert_layers * routed + _norm_parameters(arch) + arch.vocab * width
    if not arch.tied_embeddings:
        total += arch.vocab * width
    if arch.learned_positions:
        total += arch.max_positions * arch.hidden
    if arch.embedding_dim:
        total += 2 * width * arch.hidden
    return total


def weight_bytes(arch: Architecture, precision: Precision, tensor: int, pipeline: int, data: int = 1) -> tuple[float, ...]:
    """Bytes of weights on one rank of each pipeline stage, shape [pipeline]. data: engines that share the experts.

    Block matrices are held in `precision.weights`; embedding, head, norms and biases in 16 bits (vLLM quantises linear
    layers only). Tied embeddings are one copy when first and last stage are the same, else each holds its own.
    """
    part = shard(arch, tensor)
    dense, routed = (matrices * precision.weight_bits / 8 + others * STREAM_BYTES for matrices, others in
                     (_block_parameters(arch, tensor, experts=e, data=data) for e in (False, True)))
    width = arch.embedding_dim or arch.hidden
    table = float(part.vocab * width * STREAM_BYTES)
    projection = width * arch.hidden * STREAM_BYTES if arch.embedding_dim else 0
    positions = arch.max_positions * arch.hidden * STREAM_BYTES if arch.learned_positions else 0
    plain = arch.layers - arch.expert_layers  # the first blocks
    stages, start = [], 0
    for layers in stage_layers(arch.layers, pipeline):
        here = min(max(plain - start, 0), layers)
        stages.append(here * dense + (layers - here) * routed)
        start += layers
    stages[0] += table + projection + positions
    stages[-1] += projection + _norm_parameters(arch) * STREAM_BYTES
    if not arch.tied_embeddings or pipeline > 1:
        stages[-1] += table
    return tuple(stages)


def kv_bytes_per_token(arch: Architecture, precision: Precision, tensor: int, layers: int | None = None) -> float:
    """KV-cache bytes that one token occupies on one rank that holds `layers` blocks (default: all of them)."""
    width = shard(arch, tensor).kv_width(arch.head_dim)
    return 2 * width * precision.kv_bits / 8 * (arch.layers if layers is None else layers)


def activation_bytes(arch: Architecture, tensor: int, tokens: int, sequences: int, *, data: int = 1,
                     expert_parallel: bool = False, logit_bytes: int = SAMPLER_BYTES_PER_LOGIT) -> float:
    """Peak bytes of temporaries in a step of `tokens` new tokens in `sequences` sequences, on one rank. data: engines that
    share the experts, whose rows are gathered on every rank. logit_bytes: alive per logit while sampling.

    The larger of a block (residual and hidden states beside the widest pair of live buffers) and of sampling (gathered
    16-bit logits and their fp32 copy of every sequence, beside the hidden states; probabilities overwrite the copy).
    """
    part = shard(arch, tensor)
    q, kv = part.q_width(arch.head_dim), part.kv_width(arch.head_dim)
    attention = (q + 2 * kv) + q  # fused QKV and attention output
    mlp = (2 if arch.gated_mlp else 1) * part.intermediate + part.intermediate  # up projection(s) and activation
    if arch.experts:
        # vLLM's fused MoE (fused_moe.py, TritonExperts.workspace_shapes): two workspaces of a row for every visit, which take
        # turns as output and input of both grouped GEMMs and the activation between them, and the sum over a token's visits
        width = arch.expert_intermediate if expert_parallel else arch.expert_intermediate // (tensor * data)
        up = (2 if arch.gated_mlp else 1) * width
        experts = arch.experts_per_token * (max(width, arch.hidden) + max(up, arch.hidden)) + arch.hidden
        gathered = data * (experts + (arch.hidden if data > 1 else 0))
        mlp = max(gathered, mlp if arch.dense_layers else 0)
    block = tokens * (2 * arch.hidden + max(attention, mlp)) * STREAM_BYTES
    logits = sequences * part.vocab * tensor * logit_bytes
    return float(max(block, 2 * tokens * arch.hidden * STREAM_BYTES + logits))


def _norm_parameters(arch: Architecture) -> int:
    return arch.hidden if arch.norm == "rms" else 2 * arch.hidden


def _block_parameters(arch: Architecture, tensor: int, *, experts: bool, data: int = 1) -> tuple[int, int]:
    """(matrix elements, 16-bit elements: biases, norms, router) of a rank's share of a decoder block, with a plain MLP or with
    the mixture of experts. Experts cut along their width and experts dealt out whole are equally many elements."""
    part = shard(arch, tensor)
    q, kv = part.q_width(arch.head_dim), part.kv_width(arch.head_dim)
    ups = 2 if arch.gated_mlp else 1
    width = part.intermediate
    vectors = 2 * _norm_parameters(arch)
    if experts:
        width = arch.experts * arch.expert_intermediate // (tensor * data) + arch.shared_intermediate // tensor
        vectors += arch.experts * arch.hidden
    matrices = arch.hidden * (q + 2 * kv) + q * arch.hidden + (ups + 1) * width * arch.hidden
    if arch.qkv_bias:
        vectors += q + 2 * kv
    if arch.output_bias:
        vectors += arch.hidden
    if arch.mlp_bias:
        vectors += ups * width + arch.hidden
    if arch.qk_norm:
        vectors += 2 * arch.head_dim
    return matrices, vectors
