"""A Hugging Face `config.json` as an Architecture: one small table of key names and defaults per model type.

Key names and defaults are those of the configuration classes in huggingface/transformers
(`models/<type>/configuration_<type>.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from simulator.design.records.model import Architecture
from simulator.inputs.errors import InputError, nearest

# Keys that only kinds of models we do not price have, and what they mean.
_UNSUPPORTED = {
    "kv_lora_rank": "multi-head latent attention",
    "q_lora_rank": "multi-head latent attention",
    "is_encoder_decoder": "encoder-decoder models",
    "text_config": "multimodal models (give the text model's own config)",
}


_EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_intermediate_size")
_WITH_EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe", "deepseek")


def looks_like_config(plain: dict[str, Any]) -> bool:
    """Whether a mapping is a Hugging Face config.json rather than an `Architecture`."""
    return "model_type" in plain or "architectures" in plain


def architecture_from_config(config: dict[str, Any], name: str) -> Architecture:
    """The dimensions in `config` (the parsed config.json) as an Architecture called `name`.

    Raises InputError naming the key: missing or malformed keys, an unknown `model_type`, or a kind of model that is
    not priced (latent attention, experts in some layers only, encoder-decoder, a sliding window shorter than the context).
    """
    if not isinstance(config, dict):
        raise InputError(f"expected the object of a config.json, got {type(config).__name__}")
    model_type = config.get("model_type")
    if model_type is None:
        raise InputError("is missing", key="model_type")
    reader = _READERS.get(model_type) if isinstance(model_type, str) else None
    if reader is None:
        raise InputError(f"'{model_type}' is not supported; {nearest(model_type, _READERS)}", key="model_type")
    if model_type not in _WITH_EXPERTS:
        for key in _EXPERT_KEYS:
            if config.get(key):
                raise InputError(f"mixture of experts is not supported in a '{model_type}'; it is in {', '.join(_WITH_EXPERTS)}",
                                 key=key)
    for key, kind in _UNSUPPORTED.items():
        if config.get(key):
            raise InputError(f"{kind} are not supported" if kind.endswith("s") else f"{kind} is not supported", key=key)
    _refuse_short_window(config)
    fields = reader(_Reader(config))
    try:
        return Architecture(name=name, source=f"Hugging Face config.json ({model_type})", **fields)
    except ValidationError as error:
        raise InputError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


class _Reader:
    """Typed look-ups in a config that name the key when something is wrong with it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def size(self, key: str, default: int | None = None) -> int:
        """A positive whole number; a missing or null key takes `default`, or is an error without one."""
        value = self._config.get(key)
        if value is None:
            if default is None:
                raise InputError("is missing", key=key)
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 2**40:
            raise InputError(f"expected a positive whole number, got {value!r}", key=key)
        return value

    def whole(self, key: str) -> int:
        """A whole number, 0 where the key is missing or null."""
        value = self._config.get(key)
        return 0 if value is None or (value == 0 and not isinstance(value, bool)) else self.size(key)

    def filled(self, key: str) -> bool:
        """Whether the key holds anything but null, zero or an empty list."""
        return bool(self._config.get(key))

    def flag(self, key: str, default: bool) -> bool:
        value = self._config.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise InputError(f"expected true or false, got {value!r}", key=key)
        return value

    def head_dim(self, hidden: int, heads: int) -> int:
        if self._config.get("head_dim") is None and hidden % heads:
            raise InputError(f"hidden size {hidden} is not a multiple of {heads} heads; give head_dim", key="head_dim")
        return self.size("head_dim", max(1, hidden // heads))


def _refuse_short_window(config: dict[str, Any]) -> None:
    window = config.get("sliding_window")
    if window is None or config.get("use_sliding_window") is False:
        return
    positions = config.get("max_position_embeddings")
    if not isinstance(window, int) or not isinstance(positions, int) or window < positions:
        raise InputError("sliding-window attention is not supported; to model contexts inside the window, set "
                         "sliding_window to null and max_position_embeddings to the window", key="sliding_window")


def _llama_like(read: _Reader, **differences: Any) -> dict[str, Any]:
    hidden, heads = read.size("hidden_size"), read.size("num_attention_heads")
    bias = read.flag("attention_bias", False)
    return {
        "layers": read.size("num_hidden_layers"), "hidden": hidden, "heads": heads,
        "kv_heads": read.size("num_key_value_heads", heads), "head_dim": read.head_dim(hidden, heads),
        "intermediate": read.size("intermediate_size"), "gated_mlp": True, "vocab": read.size("vocab_size"),
        "max_positions": read.size("max_position_embeddings"),
        "tied_embeddings": read.flag("tie_word_embeddings", False),
        "qkv_bias": bias, "output_bias": bias, "mlp_bias": read.flag("mlp_bias", False), **differences,
    }


def _qwen2(read: _Reader) -> dict[str, Any]:
    return _llama_like(read, qkv_bias=True, output_bias=False, mlp_bias=False)  # biases are fixed by the type


def _qwen3(read: _Reader) -> dict[str, Any]:
    return _llama_like(read, qk_norm=True, mlp_bias=False, head_dim=read.size("head_dim", 128))


def _mixtral(read: _Reader) -> dict[str, Any]:
    width = read.size("intermediate_size")
    return _llama_like(read, mlp_bias=False, experts=read.size("num_local_experts", 8),
                       experts_per_token=read.size("num_experts_per_tok", 2), expert_intermediate=width)


def _every_layer_routed(read: _Reader) -> None:
    if read.size("decoder_sparse_step", 1) != 1 or read.filled("mlp_only_layers"):
        raise InputError("experts in some layers only are not supported", key="decoder_sparse_step")


def _qwen2_moe(read: _Reader) -> dict[str, Any]:
    _every_layer_routed(read)
    return _llama_like(read, qkv_bias=True, output_bias=False, mlp_bias=False, experts=read.size("num_experts", 60),
                       experts_per_token=read.size("num_experts_per_tok", 4),
                       expert_intermediate=read.size("moe_intermediate_size", 1408),
                       shared_intermediate=read.size("shared_expert_intermediate_size", 5632))


def _qwen3_moe(read: _Reader) -> dict[str, Any]:
    _every_layer_routed(read)
    return _llama_like(read, qk_norm=True, mlp_bias=False, experts=read.size("num_experts", 128),
                       experts_per_token=read.size("num_experts_per_tok", 8),
                       expert_intermediate=read.size("moe_intermediate_size", 768))


def _deepseek(read: _Reader) -> dict[str, Any]:
    """DeepSeekMoE (deepseek-moe-16b): shared experts beside the routed ones, plain MLPs in the first blocks."""
    if read.size("moe_layer_freq", 1) != 1:
        raise InputError("experts in some layers only are not supported", key="moe_layer_freq")
    width = read.size("moe_intermediate_size")
    return _llama_like(read, mlp_bias=False, experts=read.size("n_routed_experts"),
                       experts_per_token=read.size("num_experts_per_tok"), expert_intermediate=width,
                       shared_intermediate=width * read.whole("n_shared_experts"),
                       dense_layers=read.whole("first_k_dense_replace"))


def _gpt2(read: _Reader) -> dict[str, Any]:
    hidden, heads = read.size("n_embd"), read.size("n_head")
    return {
        "layers": read.size("n_layer"), "hidden": hidden, "heads": heads, "kv_heads": heads,
        "head_dim": read.head_dim(hidden, heads), "intermediate": read.size("n_inner", 4 * hidden),
        "gated_mlp": False, "vocab": read.size("vocab_size"), "max_positions": read.size("n_positions"),
        "tied_embeddings": read.flag("tie_word_embeddings", True), "learned_positions": True, "norm": "layer",
        "qkv_bias": True, "output_bias": True, "mlp_bias": True,
    }


def _gpt_neox(read: _Reader) -> dict[str, Any]:
    hidden, heads = read.size("hidden_size"), read.size("num_attention_heads")
    bias = read.flag("attention_bias", True)
    return {
        "layers": read.size("num_hidden_layers"), "hidden": hidden, "heads": heads, "kv_heads": heads,
        "head_dim": read.head_dim(hidden, heads), "intermediate": read.size("intermediate_size"),
        "gated_mlp": False, "vocab": read.size("vocab_size"), "max_positions": read.size("max_position_embeddings"),
        "tied_embeddings": read.flag("tie_word_embeddings", False), "norm": "layer",
        "qkv_bias": bias, "output_bias": bias, "mlp_bias": True,
    }


def _opt(read: _Reader) -> dict[str, Any]:
    hidden, heads = read.size("hidden_size"), read.size("num_attention_heads")
    bias = read.flag("enable_bias", True)
    embedding = read.size("word_embed_proj_dim", hidden)
    return {
        "layers": read.size("num_hidden_layers"), "hidden": hidden, "heads": heads, "kv_heads": heads,
        "head_dim": read.head_dim(hidden, heads), "intermediate": read.size("ffn_dim"), "gated_mlp": False,
        "vocab": read.size("vocab_size"), "max_positions": read.size("max_position_embeddings"),
        "tied_embeddings": read.flag("tie_word_embeddings", True), "learned_positions": True, "norm": "layer",
        "qkv_bias": bias, "output_bias": bias, "mlp_bias": bias,
        "embedding_dim": None if embedding == hidden else embedding,
    }


_READERS: dict[str, Callable[[_Reader], dict[str, Any]]] = {
    "llama": _llama_like, "mistral": _llama_like, "qwen2": _qwen2, "qwen3": _qwen3,
    "mixtral": _mixtral, "qwen2_moe": _qwen2_moe, "qwen3_moe": _qwen3_moe, "deepseek": _deepseek,
    "gpt2": _gpt2, "gpt_neox": _gpt_neox, "opt": _opt,
}
