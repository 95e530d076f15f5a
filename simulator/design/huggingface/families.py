"""How each `model_type` builds its layers: which attention, which MLP, which norms and biases, what its file calls them.

Facts are those of the modeling files of transformers 5.19 (models/<type>/modeling_<type>.py), and of vLLM 0.32's models for types
that need a repository's own code there (vllm/model_executor/models).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from simulator.design.huggingface import attention, latent, mlps, states
from simulator.design.huggingface.attention import Mixer, Reach
from simulator.design.huggingface.keys import Keys
from simulator.design.huggingface.mlps import Block

Rule = bool | str  # a fact of the type, or the key that decides


@dataclass(frozen=True)
class Family:
    """What layers of one type are made of. Biases and norms are a fact or the key that decides."""

    mlp: Callable[[Keys, int], list[Block]] = mlps.dense
    reach: Callable[[Keys, int], list[Reach]] | None = attention.everywhere_full  # of ordinary softmax attention
    mixers: Callable[[Keys, int], list[Mixer]] | None = None  # or every layer's attention
    names: dict[str, str] = field(default_factory=dict)  # usual key -> the file's
    qkv_bias: Rule = False
    output_bias: Rule = False
    mlp_bias: Rule = False
    qk_norm: Rule = False  # over each head
    row_norm: Rule = False  # over all heads together (queries and keys each)
    head_norm_each: Rule = False  # a weight for every head
    norm: Literal["rms", "layer"] = "rms"  # layer: with bias
    norms: int | Callable[[Keys], int] = 2  # of the residual stream, in a layer
    final_norm: Rule = True
    sinks: bool = False
    head_bias: Rule = False
    positions: int | None = None  # learned positions, and how many more than the context
    embedding_norm: bool = False
    tied: bool = False  # where neither file nor class says
    other: Callable[[Keys], int] | None = None  # further parameters outside the layers
    facts: dict[str, object] = field(default_factory=dict)  # keys that may only say this, for another value means other layers


_GPT = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions", "intermediate_size": "n_inner"}
_MPT = {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
        "max_position_embeddings": "max_seq_len"}
_LLAMA = Family(qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias")
_PLAIN = Family()
_QWEN2 = Family(qkv_bias=True, reach=attention.later_layers)
_QWEN3 = Family(qkv_bias="attention_bias", output_bias="attention_bias", qk_norm=True, reach=attention.later_layers)
_QWEN3_MOE = Family(qkv_bias="attention_bias", output_bias="attention_bias", qk_norm=True, reach=attention.one_window,
                    mlp=mlps.qwen_moe, names={"num_experts": "num_local_experts"}, facts={"use_qk_norm": True, "qkv_bias": False})
_DEEPSEEK = Family(mixers=latent.latent, mlp=mlps.deepseek)
_HYBRID_QWEN = Family(mixers=states.gated_delta_net, mlp=mlps.qwen_moe)
_GEMMA3 = Family(reach=lambda read, layers: attention.every_nth_full(read, layers, 6), qk_norm=True, norms=4, tied=True,
                 qkv_bias="attention_bias", output_bias="attention_bias")
_GRANITE_MOE = Family(mlp=mlps.mixtral, qkv_bias="attention_bias", output_bias="attention_bias")
_GLM4_MOE = Family(mlp=mlps.deepseek, qkv_bias="attention_bias", qk_norm="use_qk_norm")


def _nth(period: int) -> Callable[[Keys, int], list[Reach]]:
    return lambda read, layers: attention.every_nth_full(read, layers, period)


FAMILIES: dict[str, Family] = {
    # Llama and its like
    "llama": _LLAMA,
    "mistral": Family(reach=attention.one_window),
    "ministral": Family(reach=attention.one_window),
    "ministral3": _PLAIN,
    "qwen2": _QWEN2,
    "mimo": Family(qkv_bias="attention_bias", reach=attention.later_layers),
    "qwen2_vl_text": _QWEN2, "qwen2_5_vl_text": _QWEN2,
    "qwen3": _QWEN3,
    "qwen3_vl_text": Family(qkv_bias="attention_bias", output_bias="attention_bias", qk_norm=True),
    "internlm2": Family(qkv_bias="bias", output_bias="bias"),
    "baichuan": Family(names={"max_position_embeddings": "model_max_length"}),
    "qwen": Family(facts={"no_bias": True}, qkv_bias=True, mlp=mlps.halved, names={"max_position_embeddings": "seq_length",
                   "head_dim": "kv_channels"}),
    "chatglm": Family(qkv_bias=True, facts={"multi_query_attention": True, "add_qkv_bias": True, "add_bias_linear": False},
                      names={ "num_hidden_layers": "num_layers", "intermediate_size": "ffn_hidden_size", "vocab_size":
                      "padded_vocab_size", "max_position_embeddings": "seq_length", "num_key_value_heads":
                      "multi_query_group_num", "head_dim": "kv_channels"}),
    "granite": _LLAMA,
    "seed_oss": Family(qkv_bias="attention_bias", output_bias="attention_out_bias", mlp_bias="mlp_bias"),
    "smollm3": Family(facts={"use_sliding_window": False}, qkv_bias="attention_bias", output_bias="attention_bias",
                      mlp_bias="mlp_bias", tied=True),
    "helium": Family(qkv_bias="attention_bias", mlp_bias="mlp_bias"),
    "arcee": Family(mlp=mlps.plain, qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias"),
    "apertus": Family(mlp=mlps.apertus, qk_norm=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    "cwm": Family(reach=_nth(4)),
    "hunyuan_v1_dense": Family(qk_norm=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    "ernie4_5": Family(qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias", tied=True),
    "nemotron": Family(mlp=mlps.plain, norm="layer", qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias"),
    "exaone4": Family(reach=_nth(0), qk_norm=True),
    "phi3": Family(reach=attention.one_window),
    "glm": Family(qkv_bias="attention_bias"),
    "glm4": Family(qkv_bias="attention_bias", norms=4),
    "olmo": Family(norms=0, final_norm=False, qkv_bias="attention_bias", output_bias="attention_bias"),
    "olmo2": Family(row_norm=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    "olmo3": Family(row_norm=True, reach=_nth(4), qkv_bias="attention_bias", output_bias="attention_bias"),
    "stablelm": Family(norm="layer", norms=attention.parallel_norms, head_norm_each="qk_layernorm", qkv_bias="use_qkv_bias"),
    "starcoder2": Family(norm="layer", mlp=mlps.plain, qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias",
                         reach=attention.one_window, tied=True),
    "gemma": Family(tied=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    "gemma2": Family(reach=_nth(2), norms=4, tied=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    "gemma3_text": _GEMMA3,
    "gemma4_text": Family(mixers=attention.gemma4, mlp=mlps.gemma4, norms=4, tied=True, facts={"attention_bias": False},
                          other=mlps.gemma4_other),
    "cohere": Family(norms=1, tied=True, head_norm_each="use_qk_norm", qkv_bias="attention_bias", output_bias="attention_bias"),
    "cohere2": Family(norms=1, reach=_nth(4), tied=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    # GPT and its like
    "gpt2": Family(norm="layer", mlp=mlps.four_times, names=_GPT, qkv_bias=True, output_bias=True, mlp_bias=True, positions=0,
                   tied=True),
    "gpt_bigcode": Family(norm="layer", mlp=mlps.four_times, mixers=attention.multi_query, names=_GPT, mlp_bias=True, positions=0,
                          tied=True),
    "gptj": Family(norm="layer", norms=1, mlp=mlps.four_times, names=_GPT, mlp_bias=True, head_bias=True),
    "codegen": Family(norm="layer", norms=1, mlp=mlps.four_times, names=_GPT, mlp_bias=True, head_bias=True),
    "gpt_neox": Family(norm="layer", mlp=mlps.plain, qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias=True),
    "opt": Family(final_norm="do_layer_norm_before", norm="layer", mlp=mlps.plain, names={"intermediate_size": "ffn_dim"},
                  qkv_bias="enable_bias", output_bias="enable_bias", mlp_bias="enable_bias", positions=2, tied=True),
    "phi": Family(norm="layer", norms=1, mlp=mlps.plain, qk_norm="qk_layernorm", qkv_bias=True, output_bias=True,
                  mlp_bias=True, head_bias=True),
    "persimmon": Family(norm="layer", mlp=mlps.plain, qk_norm="qk_layernorm", qkv_bias=True, output_bias=True, mlp_bias=True),
    "bloom": Family(norm="layer", mlp=mlps.four_times_always, qkv_bias=True, output_bias=True, mlp_bias=True, embedding_norm=True,
                    tied=True, names={"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "hidden_size": "n_embed",
                                      "max_position_embeddings": "seq_length"}),
    "falcon": Family(norm="layer", norms=attention.falcon_norms, mlp=mlps.falcon, mixers=attention.multi_query,
                     names={"num_key_value_heads": "num_kv_heads"}, mlp_bias="bias", tied=True),
    "mpt": Family(facts={"no_bias": True}, mlp=mlps.mpt, mixers=attention.mpt, names=_MPT, tied=True),
    # experts
    "mixtral": Family(mlp=mlps.mixtral, reach=attention.one_window),
    "phimoe": Family(mlp=mlps.mixtral, norm="layer", reach=attention.one_window, qkv_bias="attention_bias",
                     output_bias="attention_bias", head_bias="lm_head_bias"),
    "qwen2_moe": Family(mlp=mlps.qwen_moe, reach=attention.later_layers, qkv_bias="qkv_bias"),
    "qwen3_moe": _QWEN3_MOE,
    "qwen3_vl_moe_text": _QWEN3_MOE,
    "olmoe": Family(mlp=mlps.olmoe, row_norm=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    "flex_olmo": Family(mlp=mlps.olmoe, row_norm=True, qkv_bias="attention_bias", output_bias="attention_bias"),
    "dbrx": Family(mlp=mlps.dbrx, mixers=attention.dbrx, names=_MPT),
    "granitemoe": _GRANITE_MOE, "granitemoeshared": _GRANITE_MOE,
    "minimax_m2": Family(facts={"use_qk_norm": True, "qk_norm_type": "per_layer"}, mlp=mlps.minimax_m2, row_norm=True),
    "deepseek": Family(mlp=mlps.deepseek, qkv_bias="attention_bias", output_bias="attention_bias"),
    "glm4_moe": _GLM4_MOE, "solar_open": _GLM4_MOE,
    "dots1": Family(mlp=mlps.deepseek, qk_norm=True, qkv_bias="attention_bias", output_bias="attention_bias",
                    reach=attention.later_layers),
    "exaone_moe": Family(mlp=mlps.deepseek, qk_norm=True, reach=_nth(4), names={
        "n_routed_experts": "num_experts", "n_shared_experts": "num_shared_experts"}),
    "ernie4_5_moe": Family(mlp=mlps.ernie, tied=True, qkv_bias="use_bias", output_bias="use_bias"),
    "gpt_oss": Family(mlp=mlps.gpt_oss, reach=_nth(2), qkv_bias="attention_bias", output_bias="attention_bias", sinks=True),
    "llama4_text": Family(facts={"use_qk_norm": True}, mlp=mlps.llama4, reach=attention.chunks, qkv_bias="attention_bias",
                          output_bias="attention_bias"),
    "mimo_v2_flash": Family(mlp=mlps.deepseek, mixers=attention.mimo),
    "step3p5": Family(mlp=mlps.step3, mixers=attention.step3, names={"num_experts": "n_routed_experts"}),
    "minimax_m3_vl_text": Family(mlp=mlps.minimax_m3, mixers=attention.minimax_m3, facts={
        "use_qk_norm": True, "qk_norm_type": "per_head", "attention_output_gate": False}),
    # latent attention
    "deepseek_v2": _DEEPSEEK, "deepseek_v3": _DEEPSEEK, "deepseek_v32": _DEEPSEEK, "kimi_k2": _DEEPSEEK, "glm_moe_dsa": _DEEPSEEK,
    "glm4_moe_lite": _DEEPSEEK,
    "deepseek_v4": Family(mixers=latent.compressed, mlp=mlps.deepseek_v4, other=latent.compressed_other),
    # recurrent layers
    "mamba": Family(mixers=states.mamba, mlp=mlps.no_mlp, norms=1, tied=True),
    "mamba2": Family(mixers=states.mamba2, mlp=mlps.no_mlp, norms=1),
    "jamba": Family(mixers=states.jamba, mlp=mlps.jamba),
    "bamba": Family(mixers=states.bamba),
    "granitemoehybrid": Family(mixers=states.bamba, mlp=mlps.granite_hybrid),
    "falcon_h1": Family(mixers=states.falcon_h1),
    "nemotron_h": Family(mixers=states.nemotron_h, mlp=mlps.nemotron_h, norms=1),
    "qwen3_next": _HYBRID_QWEN, "qwen3_5_moe_text": _HYBRID_QWEN,
    "qwen3_5_text": Family(mixers=states.gated_delta_net),
    "kimi_linear": Family(mixers=states.kimi_linear, mlp=mlps.deepseek, names={
        "max_position_embeddings": "model_max_length", "n_routed_experts": "num_experts",
        "n_shared_experts": "num_shared_experts", "num_experts_per_tok": "num_experts_per_token"}),
    "minimax": Family(mixers=states.lightning, mlp=mlps.mixtral),
    "lfm2": Family(mixers=states.short_conv, mlp=mlps.lfm2, tied=True),
}

# Other names of the same layers
SAME = {"minimax_m3": "minimax_m3_vl_text", "step3p7": "step3p5", "step3p5_text": "step3p5", "qwen2_5_vl": "qwen2_5_vl_text",
        "qwen2_vl": "qwen2_vl_text", "minimax_text_01": "minimax", "minimax_m1": "minimax", "kimi_k3": "kimi_linear",
        "gemma3": "gemma3_text", "gemma4": "gemma4_text", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text",
        "llama4": "llama4_text", "qwen3_vl": "qwen3_vl_text", "qwen3_vl_moe": "qwen3_vl_moe_text", "glm_text": "glm4",
        "aquila": "llama", "yi": "llama", "xverse": "llama"}
