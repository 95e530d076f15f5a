"""The attention of every layer of a softmax-attention model, and which layers see a window or a chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.design.huggingface.keys import Keys
from simulator.design.records.layers import Attention, BlockSparseAttention, SoftmaxAttention
from simulator.inputs.errors import InputError

Reach = tuple[Literal["full", "window", "chunk"], int | None]  # kind, span
FULL: Reach = ("full", None)

_FULL_NAMES = ("full_attention", "full", "global", "attention")
_WINDOW_NAMES = ("sliding_attention", "sliding", "local")


@dataclass(frozen=True)
class Mixer:
    """What stands in a layer's attention place, and its parameters that are no matrix."""

    attention: Attention
    vectors: int = 0


def heads_of(read: Keys) -> tuple[int, int, int]:
    """Query heads, KV heads, size of a head."""
    hidden, heads = read.size("hidden_size"), read.size("num_attention_heads")
    kv_heads = read.size("num_key_value_heads", heads)
    if not read.given("head_dim") and read.raw("head_dim") is None and hidden % heads:
        raise InputError(f"hidden size {hidden} is not a multiple of {heads} heads; give head_dim", key="head_dim")
    return heads, kv_heads, read.size("head_dim", max(1, hidden // heads))


def everywhere_full(read: Keys, layers: int) -> list[Reach]:
    """No windows; a config that lists layer types must list full ones."""
    for name in read.items("layer_types", layers, longer=True) or ():
        if name not in _FULL_NAMES:
            raise InputError(f"'{name}' is not understood in a '{read.model_type}'", key="layer_types")
    return [FULL] * layers


def one_window(read: Keys, layers: int) -> list[Reach]:
    """Every layer has the window that `sliding_window` gives, none where it is null or `use_sliding_window` is false."""
    read.skip("max_window_layers")
    if not read.flag("use_sliding_window", True):
        _no_sliding_types(read, layers)
        read.skip("sliding_window")
        return [FULL] * layers
    window = read.whole("sliding_window")
    return _listed(read, layers, window) or [_window(read, window)] * layers


def later_layers(read: Keys, layers: int) -> list[Reach]:
    """Qwen2's rule: where `use_sliding_window` is true, layers from `max_window_layers` on have the window."""
    if not read.flag("use_sliding_window", False):
        _no_sliding_types(read, layers)
        read.skip("sliding_window", "max_window_layers")
        return [FULL] * layers
    window, first = read.whole("sliding_window"), read.whole("max_window_layers")
    return _listed(read, layers, window) or [_window(read, window) if i >= first else FULL for i in range(layers)]


def every_nth_full(read: Keys, layers: int, period: int = 0) -> list[Reach]:
    """`layer_types` where listed; else windows except in every n-th layer, n = `sliding_window_pattern` or the type's own."""
    window = read.whole("sliding_window")
    if (listed := _listed(read, layers, window)) is not None:
        read.skip("sliding_window_pattern", "global_attn_every_n_layers")
        return listed
    pattern = read.raw("sliding_window_pattern")
    if isinstance(pattern, str):  # EXAONE 4 writes LLLG
        return [_window(read, window) if pattern[i % len(pattern)] == "L" else FULL for i in range(layers)]
    n = read.whole("sliding_window_pattern") or read.whole("global_attn_every_n_layers") or period
    return [_window(read, window) if n and (i + 1) % n else FULL for i in range(layers)]


def chunks(read: Keys, layers: int) -> list[Reach]:
    """Llama 4: layers with rotary positions see their chunk alone, every fourth (`no_rope_layers` 0) sees all."""
    chunk = read.size("attention_chunk_size")
    listed = read.items("layer_types", layers)
    if listed is not None:
        return [("chunk", chunk) if name == "chunked_attention" else FULL for name in listed]
    rotary = read.items("no_rope_layers", layers)
    if not rotary:
        step = read.size("no_rope_layer_interval")
        rotary = [int((i + 1) % step != 0) for i in range(layers)]
    return [("chunk", chunk) if here else FULL for here in rotary]


def _listed(read: Keys, layers: int, window: int) -> list[Reach] | None:
    """What `layer_types` lists, None where it does not."""
    names = read.items("layer_types", layers, longer=True)
    if names is None:
        return None
    found = []
    for name in names:
        if name not in (*_FULL_NAMES, *_WINDOW_NAMES):
            raise InputError(f"'{name}' is not understood in a '{read.model_type}'", key="layer_types")
        if name in _WINDOW_NAMES and not window:
            raise InputError("lists sliding layers, but there is no sliding_window", key="layer_types")
        found.append(_window(read, window) if name in _WINDOW_NAMES else FULL)
    return found


def _no_sliding_types(read: Keys, layers: int) -> None:
    """A file that says use_sliding_window is false and lists sliding layers contradicts itself."""
    for name in read.items("layer_types", layers, longer=True) or ():
        if name in _WINDOW_NAMES:
            raise InputError("lists sliding layers, but use_sliding_window is false: set one of them right", key="layer_types")
        if name not in _FULL_NAMES:
            raise InputError(f"'{name}' is not understood in a '{read.model_type}'", key="layer_types")


def _window(read: Keys, window: int) -> Reach:
    """A window as long as the context is full attention."""
    if not window or window >= (read.whole("max_position_embeddings") or window + 1):
        return FULL
    return ("window", window)


def softmax(read: Keys, reach: Reach, shape: tuple[int, int, int], *, gate: bool = False) -> SoftmaxAttention:
    """One layer's attention of `shape` (heads, KV heads, head size) with `reach`."""
    heads, kv_heads, head_dim = shape
    if heads % kv_heads:
        raise InputError(f"heads ({heads}) must be a multiple of kv_heads ({kv_heads})", key=read.name("num_key_value_heads"))
    return SoftmaxAttention(kind=reach[0], heads=heads, kv_heads=kv_heads, head_dim=head_dim, span=reach[1], output_gate=gate)


def mimo(read: Keys, layers: int) -> list[Mixer]:
    """MiMo-V2: window layers have heads of their own and one sink each; values are narrower than keys."""
    pattern = read.items("hybrid_layer_pattern", layers)
    if pattern is None:
        names = read.items("layer_types", layers)
        pattern = [int(name == "sliding_attention") for name in names] if names else [
            int(i != 0 and (i + 1) % 6 != 0) for i in range(layers)]
    heads, kv_heads, head_dim = heads_of(read)
    values, window = read.size("v_head_dim", head_dim), read.size("sliding_window")
    own = (read.size("swa_num_attention_heads", heads), read.size("swa_num_key_value_heads", 2 * kv_heads),
           read.size("swa_head_dim", head_dim), read.size("swa_v_head_dim", values))
    read.skip("sliding_window_size", "attention_chunk_size")
    full_sink, window_sink = read.flag("add_full_attention_sink_bias"), read.flag("add_swa_attention_sink_bias", True)
    full = Mixer(SoftmaxAttention(kind="full", heads=heads, kv_heads=kv_heads, head_dim=head_dim, value_dim=values),
                 heads if full_sink else 0)
    windowed = Mixer(SoftmaxAttention(kind="window", heads=own[0], kv_heads=own[1], head_dim=own[2], value_dim=own[3],
                                      span=window), own[0] if window_sink else 0)
    return [windowed if here else full for here in pattern]


def gemma4(read: Keys, layers: int) -> list[Mixer]:
    """Gemma 4: full layers have wider and fewer heads, and may take their keys as values; the last layers may share caches."""
    heads, kv_heads, head_dim = heads_of(read)
    reaches = every_nth_full(read, layers, 6)
    wide, same = read.size("global_head_dim", 512), read.flag("attention_k_eq_v")
    fewer = read.size("num_global_key_value_heads", kv_heads) if same else kv_heads
    read.skip("num_global_key_value_heads")
    shared = read.whole("num_kv_shared_layers")
    found = []
    for i, (kind, span) in enumerate(reaches):
        full = kind == "full"
        dim = wide if full else head_dim
        reuse = i >= layers - shared
        found.append(Mixer(SoftmaxAttention(kind=kind, heads=heads, kv_heads=fewer if full else kv_heads, head_dim=dim, span=span,
                                            keys_are_values=full and same and not reuse, shares_kv=reuse),
                           dim if reuse else 2 * dim))
    return found


def minimax_m3(read: Keys, layers: int) -> list[Mixer]:
    """MiniMax-M3: block-sparse attention with an indexer's own small keys; the first layers attend to everything."""
    heads, kv_heads, head_dim = heads_of(read)
    norms = 2 * head_dim
    dense = Mixer(softmax(read, FULL, (heads, kv_heads, head_dim)), norms)
    if read.given("sparse_attention_config"):
        config = read.part("sparse_attention_config")
        where = config.items("sparse_attention_freq", layers) or [1] * layers
        if not config.flag("use_sparse_attention", True):
            where = [0] * layers
        block, top_k = config.size("sparse_block_size"), config.size("sparse_topk_blocks")
        index_heads, index_dim = config.size("sparse_num_index_heads"), config.size("sparse_index_dim")
    else:
        names = read.items("layer_types", layers)
        if names is None or set(names) - {"full_attention", "minimax_m3_sparse"}:
            raise InputError("must list full_attention or minimax_m3_sparse for every layer", key="layer_types")
        where = [name == "minimax_m3_sparse" for name in names]
        block, top_k = read.size("index_block_size"), read.size("index_topk_blocks")
        index_heads, index_dim = read.size("index_n_heads"), read.size("index_head_dim")
        read.skip("index_local_blocks")
    sparse = BlockSparseAttention(heads=heads, kv_heads=kv_heads, head_dim=head_dim, block=block, top_k=top_k,
                                  index_heads=index_heads, index_dim=index_dim)
    return [Mixer(sparse, norms + 2 * index_dim) if here else dense for here in where]


def multi_query(read: Keys, layers: int) -> list[Mixer]:
    """Falcon and GPT-BigCode: one KV head where `multi_query` is true; Falcon's newer files give `num_kv_heads`."""
    heads, kv_heads, head_dim = heads_of(read)
    if not read.flag("new_decoder_architecture"):
        kv_heads = 1 if read.flag("multi_query", True) else heads
    read.skip("num_kv_heads", "parallel_attn", "alibi", "multi_query")
    bias = read.flag("bias") if read.model_type == "falcon" else True
    biases = (heads + 2 * kv_heads) * head_dim + read.size("hidden_size") if bias else 0
    return [Mixer(softmax(read, FULL, (heads, kv_heads, head_dim)), biases)] * layers


def falcon_norms(read: Keys) -> int:
    """Attention and MLP of a Falcon layer are parallel and share a norm, except in its newer architecture."""
    if read.flag("new_decoder_architecture"):
        return read.size("num_ln_in_parallel_attn", 2)
    return 1 if read.flag("parallel_attn", True) else 2


def dbrx(read: Keys, layers: int) -> list[Mixer]:
    config = read.part("attn_config")
    read.skip("num_key_value_heads")
    heads, hidden = read.size("num_attention_heads"), read.size("hidden_size")
    return [Mixer(softmax(read, FULL, (heads, config.size("kv_n_heads", heads), hidden // heads)))] * layers


def mpt(read: Keys, layers: int) -> list[Mixer]:
    """MPT: multi-head attention; other kinds than `attn_config` usually says are refused."""
    read.skip("norm_type")
    if read.given("attn_config"):
        config = read.part("attn_config")
        if config.raw("attn_type") not in (None, "multihead_attention"):
            raise InputError(f"'{config.raw('attn_type')}' is not understood", key="attn_config.attn_type")
        if config.flag("qk_ln"):
            raise InputError("is not understood", key="attn_config.qk_ln")
    heads, hidden = read.size("num_attention_heads"), read.size("hidden_size")
    return [Mixer(softmax(read, FULL, (heads, heads, hidden // heads)))] * layers


def parallel_norms(read: Keys) -> int:
    """StableLM: attention and MLP in parallel share a norm."""
    return 1 if read.flag("use_parallel_residual") else 2


def step3(read: Keys, layers: int) -> list[Mixer]:
    """Step-3.5 and later: norms of queries and keys, a gate for every head."""
    shape = heads_of(read)
    fewer = read.size("num_sliding_attention_heads", shape[0])
    found = []
    for reach in every_nth_full(read, layers, 0):
        heads = shape[0] if reach == FULL else fewer
        found.append(Mixer(softmax(read, reach, (heads, *shape[1:])), 2 * shape[2] + read.size("hidden_size") * heads))
    return found
