"""Latent attention: DeepSeek-V2, V3, Kimi-K2 and GLM-5 (with and without an indexer), and DeepSeek-V4's compressed one."""

from __future__ import annotations

from typing import Any

from simulator.design.huggingface.attention import Mixer
from simulator.design.huggingface.keys import Keys
from simulator.design.records.layers import CompressedAttention, Indexer, LatentAttention
from simulator.inputs.errors import InputError

# What DeepSeek-V4 compresses by, per layer, and the reference library's name of such a layer
_RATIOS = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}


def latent(read: Keys, layers: int) -> list[Mixer]:
    """Multi-head latent attention in every layer, sparse where the file gives an indexer."""
    q_rank, kv_rank = read.whole("q_lora_rank"), read.size("kv_lora_rank")
    read.skip("num_key_value_heads", "head_dim", "layer_types", "qk_head_dim")
    bias = read.flag("attention_bias")
    shape: dict[str, Any] = {"heads": read.size("num_attention_heads"), "q_rank": q_rank or None, "kv_rank": kv_rank,
             "nope_dim": read.size("qk_nope_head_dim"), "rope_dim": read.size("qk_rope_head_dim"),
             "value_dim": read.size("v_head_dim"), "output_gate": read.flag("mla_use_output_gate")}
    read.skip("mla_use_nope")
    norms = q_rank + kv_rank
    if bias:
        norms += q_rank + kv_rank + shape["rope_dim"] + read.size("hidden_size")
    plain = Mixer(LatentAttention(**shape), norms)
    if not (read.given("index_topk") or "index_topk" in _class_keys(read)):
        return [plain] * layers
    index = Indexer(heads=read.size("index_n_heads"), head_dim=read.size("index_head_dim"), top_k=read.size("index_topk"))
    own = Mixer(LatentAttention(**shape, indexer=index), norms + 2 * index.head_dim)  # the key's norm has weight and bias
    shared = Mixer(LatentAttention(**shape, indexer=index.model_copy(update={"shared": True})), norms)
    return [own if kind == "full" else shared for kind in _indexers(read, layers)]


def _class_keys(read: Keys) -> tuple[str, ...]:
    return ("index_topk",) if read.model_type in ("deepseek_v32", "glm_moe_dsa") else ()


def _indexers(read: Keys, layers: int) -> list[str]:
    """`full` where a layer has an indexer, `shared` where it takes an earlier one's choice."""
    listed, pattern = read.items("indexer_types", layers), read.raw("index_topk_pattern")
    frequency, offset = read.whole("index_topk_freq"), read.whole("index_skip_topk_offset")
    if listed is not None:
        if unknown := set(listed) - {"full", "shared"}:
            raise InputError(f"'{min(unknown)}' is not understood", key="indexer_types")
        return listed
    if isinstance(pattern, str):
        return [{"F": "full", "S": "shared"}[letter] for letter in pattern[:layers]]
    if read.model_type != "glm_moe_dsa":
        return ["full"] * layers
    return ["full" if max(i - (offset or 2) + 1, 0) % max(frequency, 1) == 0 else "shared" for i in range(layers)]


def compressed(read: Keys, layers: int) -> list[Mixer]:
    """DeepSeek-V4: `compress_ratios` says what a layer's long-range cache is compressed by (0: the window alone)."""
    ratios = read.items("compress_ratios", layers, longer=True)
    if ratios is None:
        names = read.items("layer_types", layers) or (
            ["heavily_compressed_attention"] * 2
            + ["compressed_sparse_attention" if i % 2 else "heavily_compressed_attention" for i in range(layers - 2)])[:layers]
        ratios = [_RATIOS[name] for name in names]
    if unknown := set(ratios) - set(_RATIOS.values()):
        raise InputError(f"{min(unknown)} is not understood", key="compress_ratios")
    read.skip("num_key_value_heads", "qk_rope_head_dim", "compress_rates")
    head_dim = read.size("head_dim")
    shape: dict[str, Any] = {"heads": read.size("num_attention_heads"), "head_dim": head_dim, "q_rank": read.size("q_lora_rank"),
             "output_groups": read.size("o_groups"), "output_rank": read.size("o_lora_rank"), "span": read.size("sliding_window")}
    index = Indexer(heads=read.size("index_n_heads"), head_dim=read.size("index_head_dim"), top_k=read.size("index_topk"))
    # hyper-connections around attention and MLP: for `hc_mult` streams, mixing matrices of (2 + n) n rows, a base and 3 scales
    streams = read.size("hc_mult")
    mixing = (2 + streams) * streams
    hyper = 2 * (mixing * streams * read.size("hidden_size") + mixing + 3)
    base = hyper + shape["q_rank"] + head_dim + shape["heads"]  # norms of latents, one sink a head
    found = {
        0: Mixer(CompressedAttention(**shape), base),
        4: Mixer(CompressedAttention(**shape, ratio=4, indexer=index),
                 base + 4 * 2 * head_dim + head_dim + 4 * 2 * index.head_dim + index.head_dim),  # positions and a norm
        128: Mixer(CompressedAttention(**shape, ratio=128), base + 128 * head_dim + head_dim),
    }
    return [found[ratio] for ratio in ratios]


def compressed_other(read: Keys) -> int:
    """The hyper-connection in front of the head."""
    streams = read.size("hc_mult")
    return streams * streams * read.size("hidden_size") + streams + 1
