"""The bytes of a model on one rank: weights, KV cache, activations. Closed forms from the dimensions."""

from __future__ import annotations

from collections import Counter

from simulator.design.records.layers import (
    BesideAttention,
    BlockSparseAttention,
    CompressedAttention,
    DenseMlp,
    ExpertsMlp,
    LatentAttention,
    LayerType,
    NoAttention,
    SoftmaxAttention,
    StateAttention,
)
from simulator.design.records.model import Architecture, PartName, Precision
from simulator.model.caches import kv_bytes_per_token as kv_bytes_by_kind
from simulator.model.layer_types import in_order
from simulator.model.layers import STREAM_BYTES
from simulator.model.parts import MatrixPart, layer_parts, model_parts, norm_parameters
from simulator.model.sharding import shard, stage_layers

# Bytes alive per logit when vLLM sizes its memory: 16-bit logits 2 and their fp32 copy 4 (v1/sample/sampler.py). Capacities
# recorded with 0.19, whose Triton kernel masks in place, leave no room for more (scripts/validate_serving.py: on an RTX A6000
# the capacity at budgets 2,048 and 8,192 differs by exactly the MLP's buffers).
SAMPLER_BYTES_PER_LOGIT = 6
# Versions that sort for top-k and top-p hold sorted values 4, their indices 8, probabilities and running sums 8 as well.
SORTING_SAMPLER_BYTES_PER_LOGIT = 26

_QUANTISED: tuple[PartName, ...] = ("attention", "attention_output", "mlp", "experts", "shared_experts")


def parameters(arch: Architecture) -> int:
    """Trainable parameters of the language model; tied embeddings count once, a vision tower not at all."""
    return model_parts(arch).text


def weight_bytes(arch: Architecture, precision: Precision, tensor: int, pipeline: int, data: int = 1) -> tuple[float, ...]:
    """Bytes of weights on one rank of each pipeline stage, shape [pipeline]. data: engines that share the experts.

    Matrices are held as `precision` says of their part; embedding, norms, biases, routers and a vision tower in 16 bits (vLLM
    quantises linear layers only). Tied embeddings are one copy when first and last stage are the same, else each holds its own.
    A vision tower is cut over the ranks of the first stage.
    """
    part = shard(arch, tensor)
    width = arch.embedding_dim or arch.hidden
    table = float(part.vocab * width * STREAM_BYTES)
    head = float(part.vocab * width) * precision.of("head").stored() / 8
    projection = width * arch.hidden * STREAM_BYTES if arch.embedding_dim else 0
    positions = arch.max_positions * arch.hidden * STREAM_BYTES if arch.learned_positions else 0
    of_layer = in_order(arch)
    kept = {layer for name in _QUANTISED for layer in precision.of(name).kept_layers}
    stages, start = [], 0
    for layers in stage_layers(arch.layers, pipeline):
        here = range(start, start + layers)
        usual = Counter(of_layer[i] for i in here if i not in kept)
        stages.append(sum((count * _layer_bytes(arch, kind, precision, tensor, data, None) for kind, count in usual.items()), 0.0)
                      + sum(_layer_bytes(arch, of_layer[i], precision, tensor, data, i) for i in here if i in kept))
        start += layers
    stages[0] += table + projection + positions + (arch.vision_parameters or 0) / tensor * STREAM_BYTES
    last = 0 if arch.layer_types is not None else norm_parameters(arch)
    stages[-1] += projection + (last + (arch.other_parameters or 0)) * STREAM_BYTES
    if not arch.tied_embeddings:
        stages[-1] += head
    elif pipeline > 1:
        stages[-1] += table
    return tuple(stages)


def _layer_bytes(arch: Architecture, kind: LayerType, precision: Precision, tensor: int, data: int, layer: int | None) -> float:
    """One rank's bytes of a layer of `kind`; of number `layer` where some layers are stored otherwise."""
    found = layer_parts(arch, kind, tensor, data)
    matrices = sum((elements * _stored_bits(name, precision, layer) / 8 for name, elements in found.matrices.items()), 0.0)
    return matrices + found.vectors * STREAM_BYTES


def _stored_bits(part: MatrixPart, precision: Precision, layer: int | None) -> float:
    return 16.0 if part == "router" else precision.of(part).stored(layer)


def kv_bytes_per_token(arch: Architecture, precision: Precision, tensor: int, layers: int | None = None) -> float:
    """KV-cache bytes that one token occupies on one rank that holds `layers` blocks (default: all of them); windows and chunks
    while they fill (by kind of cache: `simulator.model.caches`)."""
    if arch.layer_types is not None:
        return sum(kv_bytes_by_kind(arch, precision, tensor).values()) * (1 if layers is None else layers / arch.layers)
    width = shard(arch, tensor).kv_width(arch.head_dim)
    return 2 * width * precision.kv_bits / 8 * (arch.layers if layers is None else layers)


def activation_bytes(arch: Architecture, tensor: int, tokens: int, sequences: int, *, data: int = 1,
                     expert_parallel: bool = False, logit_bytes: int = SAMPLER_BYTES_PER_LOGIT) -> float:
    """Peak bytes of temporaries in a step of `tokens` new tokens in `sequences` sequences, on one rank. data: engines that
    share the experts, whose rows are gathered on every rank. logit_bytes: alive per logit while sampling.

    The larger of a block (residual and hidden states with the widest pair of live buffers) and of sampling (gathered
    16-bit logits and their fp32 copy of every sequence, with the hidden states; probabilities overwrite the copy).
    """
    part = shard(arch, tensor)
    logits = sequences * part.vocab * tensor * logit_bytes
    if arch.layer_types is not None:
        widest = max(_row_elements(kind, arch.hidden, tensor, data, expert_parallel) for kind in arch.layer_types)
        return float(max(tokens * (2 * arch.hidden + widest), 2 * tokens * arch.hidden + logits / STREAM_BYTES) * STREAM_BYTES)
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
    return float(max(block, 2 * tokens * arch.hidden * STREAM_BYTES + logits))


def _row_elements(kind: LayerType, hidden: int, tensor: int, data: int, expert_parallel: bool) -> int:
    """Elements alive per token inside a layer of `kind`, on one rank: the wider of its attention and its MLP."""
    match kind.attention:
        case SoftmaxAttention(heads=heads, kv_heads=kv, head_dim=dim):
            attention = (2 * heads // tensor + 2 * max(1, kv // tensor)) * dim
        case BlockSparseAttention(heads=heads, kv_heads=kv, head_dim=dim):
            attention = (2 * heads // tensor + 2 * max(1, kv // tensor)) * dim
        case LatentAttention(heads=heads, nope_dim=nope, rope_dim=rope, value_dim=value):
            attention = heads // tensor * (2 * (nope + rope) + 2 * value)  # prompts run with expanded keys and values
        case CompressedAttention(heads=heads, head_dim=dim):
            attention = 2 * heads // tensor * dim
        case StateAttention(heads=heads, head_dim=dim):
            attention = 5 * heads // tensor * dim  # projections in, convolution out, result
        case BesideAttention(attention=beside, state=state):
            attention = (2 * beside.heads + 2 * beside.kv_heads) // tensor * beside.head_dim
            attention += 5 * state.heads // tensor * state.head_dim
        case NoAttention():
            attention = 0
    match kind.mlp:
        case DenseMlp(width=width, gated=gated):
            mlp = (3 if gated else 2) * width // tensor
        case ExpertsMlp() as experts:
            width = experts.width if expert_parallel else experts.width // (tensor * data)
            up = (2 if experts.gated else 1) * width
            stream = experts.latent or hidden
            mlp = data * (experts.per_token * (max(width, stream) + max(up, stream)) + hidden + (hidden if data > 1 else 0))
        case _:
            mlp = 0
    return max(attention, mlp)
