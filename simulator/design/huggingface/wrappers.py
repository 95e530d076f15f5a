"""Multimodal files: the text model inside, and what else the file says of the whole."""

from __future__ import annotations

from typing import Any

from simulator.inputs.errors import InputError

_TEXT_KEYS = ("text_config", "llm_config", "language_config")

# Wrappers whose text model is an ordinary decoder that images are embedded into, and the text model's type where its own
# config does not say
WRAPPERS: dict[str, str | None] = {
    "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "qwen3_vl": "qwen3_vl_text", "qwen3_vl_moe": "qwen3_vl_moe_text",
    "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text", "gemma3": "gemma3_text", "gemma4": "gemma4_text",
    "llama4": "llama4_text", "mistral3": None, "pixtral": None, "llava": None, "llava_next": None, "llava_onevision": None,
    "vipllava": None, "kimi_k25": None, "kimi_k3": "kimi_linear", "kimi_vl": None, "internvl": None, "internvl_chat": None,
    "idefics3": None, "smolvlm": None, "paligemma": None, "glm4v": "glm4", "step3p7": "step3p5",
    "minimax_m3_vl": "minimax_m3_vl_text", "cohere2_vision": None, "aya_vision": None, "lfm2_vl": None, "mistral_small": None,
    "deepseek_vl_v2": "deepseek_v2", "exaone4_5": None, "ovis2": None,
}

# What stands beside the language model in memory: nothing of it changes how text is served
_UNTIMED = {"mllama": "cross-attention to images", "gemma3n": "embeddings per layer", "qwen2_5_omni": "speech in and out",
            "qwen3_omni_moe": "speech in and out", "phi4_multimodal": "adapters for images and speech"}


def text_model(config: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """(config of the text model, its type, the key it stood under or "") of a file; a plain decoder is its own text model.

    Raises InputError for a wrapper that is not known, or one without a text model.
    """
    model_type = config["model_type"]
    if model_type in _UNTIMED:
        raise InputError(f"'{model_type}' is not supported: {_UNTIMED[model_type]}", key="model_type")
    key = next((key for key in _TEXT_KEYS if isinstance(config.get(key), dict)), None)
    if key is None:
        return config, model_type, ""
    if model_type not in WRAPPERS:
        raise InputError(f"'{model_type}' around a {key} is not supported: how it feeds its text model is not known",
                         key="model_type")
    text = dict(config[key])
    inner = text.get("model_type") or WRAPPERS[model_type]
    if not isinstance(inner, str):
        raise InputError("is missing", key=f"{key}.model_type")
    text.pop("model_type", None)
    if "tie_word_embeddings" in config:
        text.setdefault("tie_word_embeddings", config["tie_word_embeddings"])
    return text, inner, key
