"""The operators of a model whose layers differ: every layer type's, times how often it occurs.

Latent attention (DeepSeek-V2): prompts run with keys and values expanded from the latent, decodes with the expansion absorbed
into queries and results, as attention of one KV head over the latents. Both need the same multiply-adds and weights per token, so
both are priced as the absorbed products here; latents of a context that a chunk has before it are expanded again by the prompt's
kernel. Sparse over latent runs absorbed throughout.
Layers whose share of the weights stays in 16 bits (`kept_layers`) are layer types of their own.
"""

from __future__ import annotations

from collections import Counter

from simulator.design.records.layers import (
    BesideAttention,
    BlockSparseAttention,
    CompressedAttention,
    DenseMlp,
    ExpertsMlp,
    Indexer,
    LatentAttention,
    LayerType,
    NoAttention,
    NoMlp,
    SoftmaxAttention,
    StateAttention,
)
from simulator.design.records.model import SIXTEEN_BITS, Architecture, PartName, Precision
from simulator.model.layer_types import in_order
from simulator.model.operators import (
    Convolution,
    DecodeAttention,
    DecodeState,
    ExpertBlock,
    NamedOperator,
    Operator,
    Part,
    PrefillAttention,
    PrefillState,
)
from simulator.model.parts import layer_parts
from simulator.model.pieces import (
    ROTARY,
    SAMPLING,
    STREAM_BYTES,
    all_reduce,
    attention_bits,
    cache_write,
    elementwise,
    exchanged,
    gemm,
    mlp,
    norm,
    scales_of,
    unquantised_gemm,
)

Pieces = list[tuple[str, Operator, Part]]
_PARTS: tuple[PartName, ...] = ("attention", "attention_output", "mlp", "experts", "shared_experts")
_STATE_BITS = {"bf16": 16, "fp16": 16, "fp32": 32}
# Popularity of experts where a model's record says nothing: Qwen3-30B-A3B's, the one that measurements settled (configs/models)
EVENNESS = 1.75
_GATE = 6.0  # sigmoid(x) * y: exp apart, negate, add, divide, product


def layered(arch: Architecture, precision: Precision, tensor: int, *, expert_parallel: bool = False,
            data: int = 1) -> list[NamedOperator]:
    """Every operator of the decoder's layers on one of `tensor` ranks, as `model.layers.operators` has them."""
    found: list[NamedOperator] = []
    kinds = _kinds(arch, precision)
    several = len(kinds) > 1
    for (kind, kept), count in kinds.items():
        own = _widened(precision, kept)
        suffix = f".{kind.name}{'.16bit' if kept else ''}" if several else ""
        pieces = _layer(arch, kind, own, tensor, expert_parallel, data)
        found += [NamedOperator(name + suffix, operator, count, part) for name, operator, part in pieces]
    return found


def _kinds(arch: Architecture, precision: Precision) -> dict[tuple[LayerType, frozenset[PartName]], int]:
    """Layer types, with the parts of them that stay in 16 bits, and how often they occur."""
    kept = {part: set(precision.of(part).kept_layers) for part in _PARTS}
    return dict(Counter((kind, frozenset(part for part in _PARTS if i in kept[part])) for i, kind in enumerate(in_order(arch))))


def _widened(precision: Precision, kept: frozenset[PartName]) -> Precision:
    return precision.model_copy(update=dict.fromkeys(kept, SIXTEEN_BITS)) if kept else precision


def _layer(arch: Architecture, kind: LayerType, precision: Precision, tensor: int, expert_parallel: bool, data: int) -> Pieces:
    pieces: Pieces = []
    if not isinstance(kind.attention, NoAttention):
        pieces.append(("attention_norm", norm(arch, arch.hidden, residual=True), "before"))
        pieces += mixer(arch, kind, precision, tensor)
        pieces += _reduced("attention_all_reduce", arch, tensor)
    if not isinstance(kind.mlp, NoMlp):
        pieces.append(("mlp_norm", norm(arch, arch.hidden, residual=True), "after"))
        match kind.mlp:
            case DenseMlp(width=width, gated=gated):
                pieces += _after(mlp(arch.hidden, width // tensor, gated, precision, "mlp"))
            case ExpertsMlp() as experts:
                pieces += _experts(arch, experts, precision, tensor, expert_parallel, data)
        pieces += _reduced("mlp_all_reduce", arch, tensor)
    return pieces


def _reduced(name: str, arch: Architecture, tensor: int) -> Pieces:
    return [(found.name, found.operator, found.part) for found in all_reduce(name, arch, tensor, 1, "after")]


def _after(pairs: list[tuple[str, Operator]], part: Part = "after") -> Pieces:
    return [(name, operator, part) for name, operator in pairs]


def mixer(arch: Architecture, kind: LayerType, precision: Precision, tensor: int) -> Pieces:
    """(name, operator, part) of everything between a layer's first norm and the all-reduce after its output projection."""
    match kind.attention:
        case SoftmaxAttention() as a:
            return _softmax(arch, a, precision, tensor)
        case LatentAttention() as a:
            return _latent(arch, a, precision, tensor)
        case CompressedAttention() as a:
            return _compressed(arch, a, precision, tensor)
        case BlockSparseAttention() as a:
            return _block_sparse(arch, a, precision, tensor)
        case StateAttention() as a:
            return _state(arch, kind, a, precision, tensor)
        case BesideAttention(attention=attention, state=state):
            beside = [(f"{name}_beside" if name == "output" else name, operator, part)
                      for name, operator, part in _state(arch, LayerType(name=kind.name, attention=state, mlp=NoMlp()), state,
                                                         precision, tensor)]
            return [*_softmax(arch, attention, precision, tensor), *beside]
    raise AssertionError(kind)


def _pair(label: str, heads: int, kv_heads: int, head_dim: int, kv_bits: int, activation_bits: int, **rest: object) -> Pieces:
    """A prefill and a decode operator of the same attention."""
    shape = (heads, kv_heads, head_dim, kv_bits, activation_bits)
    return [(f"prefill_{label}", PrefillAttention(*shape, **rest), "attention"),  # type: ignore[arg-type]
            (f"decode_{label}", DecodeAttention(*shape, **rest), "attention")]  # type: ignore[arg-type]


def _softmax(arch: Architecture, a: SoftmaxAttention, precision: Precision, tensor: int) -> Pieces:
    heads, kv = a.heads // tensor, max(1, a.kv_heads // tensor)
    values = a.value_dim or a.head_dim
    queries = heads * a.head_dim + (heads * values if a.output_gate else 0)
    cached = 0 if a.shares_kv else kv * (a.head_dim + values)
    projected = 0 if a.shares_kv else kv * (a.head_dim + (0 if a.keys_are_values else values))
    pieces: Pieces = [("qkv", gemm(queries + projected, arch.hidden, precision, "attention"), "before"),
                      ("rotary", elementwise(heads * a.head_dim + (0 if a.shares_kv else kv * a.head_dim), ROTARY), "before")]
    if cached:
        pieces.append(("kv_cache_write", cache_write(cached, precision.kv_bits), "before"))
    rest: dict[str, object] = {"span": a.span, "chunked": a.kind == "chunk"}
    if values != a.head_dim:
        rest["value_dim"] = values
    pieces += _pair("attention", heads, kv, a.head_dim, precision.kv_bits, attention_bits(precision), **rest)
    if a.output_gate:
        pieces.append(("output_gate", elementwise(heads * values, _GATE, exps=1.0, reads=2.0), "after"))
    return [*pieces, ("output", gemm(arch.hidden, heads * values, precision, "attention_output"), "after")]


def _latent(arch: Architecture, a: LatentAttention, precision: Precision, tensor: int) -> Pieces:
    heads = a.heads // tensor
    key = a.nope_dim + a.rope_dim
    entry = a.kv_rank + a.rope_dim
    index = None if a.indexer is None or a.indexer.shared else a.indexer
    pieces: Pieces = []
    if a.q_rank:
        pieces += [("latents", gemm(a.q_rank + entry, arch.hidden, precision, "attention"), "before"),
                   ("latent_norm", norm(arch, a.q_rank + a.kv_rank, residual=False), "before"),
                   ("queries", gemm(heads * key, a.q_rank, precision, "attention"), "before")]
    else:
        pieces += [("latents", gemm(entry, arch.hidden, precision, "attention"), "before"),
                   ("latent_norm", norm(arch, a.kv_rank, residual=False), "before"),
                   ("queries", gemm(heads * key, arch.hidden, precision, "attention"), "before")]
    pieces += [("rotary", elementwise((heads + 1) * a.rope_dim, ROTARY), "before"),
               ("kv_cache_write", cache_write(entry, precision.kv_bits), "before"),
               ("absorb_keys", unquantised_gemm(heads * a.kv_rank, a.nope_dim), "before")]
    if index is not None:
        pieces += _indexer(arch, index, a.q_rank or arch.hidden, precision)
    bits = attention_bits(precision)
    attends = 8 if bits <= 8 and precision.kv_bits <= 8 else 16
    absorbed = {"value_dim": a.kv_rank, "one_vector": True}
    if a.indexer is not None:
        pieces += _pair("attention", heads, 1, entry, precision.kv_bits, attends, top_k=a.indexer.top_k, **absorbed)
    else:
        expanded = PrefillAttention(heads, heads, key, 16, 16, value_dim=a.value_dim,
                                    expands=a.kv_rank * (a.nope_dim + a.value_dim))
        pieces += [("prefill_attention", expanded, "attention"),
                   ("decode_attention", DecodeAttention(heads, 1, entry, precision.kv_bits, attends, value_dim=a.kv_rank,
                                                        one_vector=True), "attention")]
    pieces.append(("absorb_values", unquantised_gemm(heads * a.value_dim, a.kv_rank), "after"))
    if a.output_gate:
        pieces += [("output_gate_projection", gemm(heads * a.value_dim, arch.hidden, precision, "attention"), "before"),
                   ("output_gate", elementwise(heads * a.value_dim, _GATE, exps=1.0, reads=2.0), "after")]
    return [*pieces, ("output", gemm(arch.hidden, heads * a.value_dim, precision, "attention_output"), "after")]


def _indexer(arch: Architecture, index: Indexer, q_rank: int, precision: Precision, ratio: int = 1) -> Pieces:
    """Its projections (whole on every rank), its keys' cache, its scores of all keys in 8 bits."""
    return [("index_queries", gemm(index.heads * index.head_dim, q_rank, precision, "attention"), "before"),
            ("index_keys", unquantised_gemm(index.head_dim + index.heads, arch.hidden), "before"),
            ("index_cache_write", cache_write(index.head_dim, 8), "before"),
            *_pair("index", index.heads, 1, index.head_dim, 8, 8, value_dim=0, ratio=ratio)]


def _compressed(arch: Architecture, a: CompressedAttention, precision: Precision, tensor: int) -> Pieces:
    """DeepSeek-V4: a window and, where compressed, entries of `ratio` tokens, the best of them where an indexer picks."""
    heads = a.heads // tensor
    bits = attention_bits(precision)
    attends = 8 if bits <= 8 and precision.kv_bits <= 8 else 16
    compressor = 2 * a.head_dim * (2 if a.indexer else 1) if a.ratio else 0
    pieces: Pieces = [("latents", gemm(a.q_rank + a.head_dim + compressor, arch.hidden, precision, "attention"), "before"),
                      ("latent_norm", norm(arch, a.q_rank + a.head_dim, residual=False), "before"),
                      ("queries", gemm(heads * a.head_dim, a.q_rank, precision, "attention"), "before"),
                      ("rotary", elementwise((heads + 1) * a.head_dim, ROTARY), "before"),
                      ("kv_cache_write", cache_write(a.head_dim, precision.kv_bits), "before")]
    shape = (heads, 1, a.head_dim, precision.kv_bits, attends)
    pieces += _pair("attention", *shape, one_vector=True, value_dim=a.head_dim, span=a.span)
    if a.ratio:
        if a.indexer is not None:
            pieces += _indexer(arch, a.indexer, a.q_rank, precision, a.ratio)
            pieces.append(("index_compressor", unquantised_gemm(4 * a.indexer.head_dim, arch.hidden), "before"))
        pieces += _pair("compressed_attention", *shape, one_vector=True, value_dim=a.head_dim, ratio=a.ratio,
                        top_k=a.indexer.top_k if a.indexer else None)
    groups = max(1, a.output_groups // tensor)
    latents = gemm(groups * a.output_rank, heads * a.head_dim // groups, precision, "attention")
    return [*pieces, ("output_latents", latents, "after"),
            ("output", gemm(arch.hidden, groups * a.output_rank, precision, "attention_output"), "after")]


def _block_sparse(arch: Architecture, a: BlockSparseAttention, precision: Precision, tensor: int) -> Pieces:
    heads, kv = a.heads // tensor, max(1, a.kv_heads // tensor)
    width = (heads + 2 * kv) * a.head_dim + (a.index_heads + 1) * a.index_dim
    bits = attention_bits(precision)
    return [("qkv", gemm(width, arch.hidden, precision, "attention"), "before"),
            ("rotary", elementwise((heads + kv) * a.head_dim + (a.index_heads + 1) * a.index_dim, ROTARY), "before"),
            ("kv_cache_write", cache_write(2 * kv * a.head_dim, precision.kv_bits), "before"),
            ("index_cache_write", cache_write(a.index_dim, 16), "before"),
            *_pair("index", a.index_heads, 1, a.index_dim, 16, 16, value_dim=0),
            *_pair("attention", heads, kv, a.head_dim, precision.kv_bits, bits, top_k=a.block * a.top_k),
            ("output", gemm(arch.hidden, heads * a.head_dim, precision, "attention_output"), "after")]


def _state(arch: Architecture, kind: LayerType, a: StateAttention, precision: Precision, tensor: int) -> Pieces:
    heads = max(1, a.heads // tensor)
    groups = max(1, a.groups // tensor) if a.kind in ("mamba2", "gated_delta_net") else heads
    width = heads * a.head_dim
    matrices = layer_parts(arch, kind, tensor).matrices
    pieces: Pieces = [("state_projections", gemm(max(1, round(matrices["attention"] / arch.hidden)), arch.hidden, precision,
                                                 "attention"), "before")]
    if a.kernel:
        channels = {"mamba": width, "mamba2": width + 2 * groups * a.state, "gated_delta_net": 2 * groups * a.state + width,
                    "kda": 3 * width, "lightning": 0, "short_conv": width}[a.kind]
        pieces.append(("convolution", Convolution(channels, 2.0 * a.kernel, 1.0, channels * STREAM_BYTES, channels * STREAM_BYTES),
                       "before"))
    if a.kind != "short_conv":
        shape = (a.kind, heads, a.head_dim, a.state, groups, _STATE_BITS[a.state_dtype])
        pieces += [("prefill_state", PrefillState(*shape), "attention"), ("decode_state", DecodeState(*shape), "attention"),
                   ("state_norm", elementwise(width, 2 * _GATE, exps=1.0, reads=2.0), "after")]
    return [*pieces, ("output", gemm(arch.hidden, width, precision, "attention_output"), "after")]


def _experts(arch: Architecture, experts: ExpertsMlp, precision: Precision, tensor: int, expert_parallel: bool,
             data: int) -> Pieces:
    """Router and experts as in `model.layers`, the experts as one block; every rank sees all tokens of its own engine's
    shared experts and of all engines' routed ones."""
    ranks, part = tensor * data, "after" if data == 1 else "gathered"
    local, width = (experts.experts // ranks, experts.width) if expert_parallel else (experts.experts, experts.width // ranks)
    stored, stream = precision.of("experts"), experts.latent or arch.hidden
    block = ExpertBlock(stream, width, experts.gated, local, experts.experts, experts.per_token, stored.weight_bits,
                        stored.activation_bits, arch.expert_evenness or EVENNESS, scales_of(stored))
    routed: list[tuple[str, Operator]] = [
        ("router", unquantised_gemm(experts.experts, arch.hidden)),
        ("routing", elementwise(experts.experts, SAMPLING, exps=1.0))]
    if experts.latent:
        routed.append(("experts_in", unquantised_gemm(experts.latent, arch.hidden)))
    routed.append(("experts", block))
    if experts.latent:
        routed.append(("experts_out", unquantised_gemm(arch.hidden, experts.latent)))
    pieces = _after(routed, part)  # type: ignore[arg-type]
    if experts.shared_width:
        pieces += _after(mlp(arch.hidden, experts.shared_width // tensor, experts.gated, precision, "shared_experts", "shared_"))
    if experts.dense_width:
        pieces += _after(mlp(arch.hidden, experts.dense_width // tensor, experts.gated, precision, "mlp", "dense_"))
    if data > 1:
        pieces += _after(exchanged(arch, data, experts.per_token), "gathered")
    return pieces

