"""Parameters of a vision tower and its projector, where the file gives their dimensions; else it is not counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.inputs.errors import InputError

_Sizes = Callable[[str], int]


def vision_parameters(config: dict[str, Any], text_width: int) -> int | None:
    """Of the tower that `vision_config` describes and of what projects its output to `text_width`; None where it leaves out
    a dimension."""
    vision = config.get("vision_config")
    if not isinstance(vision, dict):
        return None
    for needed, count in _TOWERS:
        if all(vision.get(key) is not None for key in needed):
            return count(lambda key: _size(vision, key), vision, text_width)
    return None


def _size(vision: dict[str, Any], key: str) -> int:
    value = vision.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"expected a whole number, got {value!r}", key=f"vision_config.{key}")
    return value


def _block(width: int, inner: int, attention: int | None = None) -> int:
    """A transformer block with biases and two layer norms."""
    heads = attention or width
    return 3 * (width * heads + heads) + heads * width + width + 2 * width * inner + inner + width + 4 * width


def _merger(width: int, norm: int, out: int) -> int:
    """A layer norm and two linear layers with biases."""
    return 2 * norm + width * width + width + width * out + out


def _qwen3(size: _Sizes, vision: dict[str, Any], text_width: int) -> int:
    """Qwen3-VL and Qwen3.5 (models/qwen3_vl/modeling_qwen3_vl.py): 3D patches, learned positions, one merger and one more for
    every layer whose features are fed to the decoder."""
    width, merged = size("hidden_size"), size("hidden_size") * size("spatial_merge_size") ** 2
    out = size("out_hidden_size") if vision.get("out_hidden_size") else text_width
    patch = size("in_channels") * size("temporal_patch_size") * size("patch_size") ** 2 * width + width
    indexes = vision.get("deepstack_visual_indexes") or []
    if not isinstance(indexes, list):
        raise InputError(f"expected a list, got {indexes!r}", key="vision_config.deepstack_visual_indexes")
    deep = len(indexes)
    return (patch + size("num_position_embeddings") * width + size("depth") * _block(width, size("intermediate_size"))
            + _merger(merged, width, out) + deep * _merger(merged, merged, out))


def _qwen2_5(size: _Sizes, vision: dict[str, Any], text_width: int) -> int:
    """Qwen2.5-VL (models/qwen2_5_vl/modeling_qwen2_5_vl.py): rotary positions, gated MLPs, RMS norms."""
    width, inner = size("hidden_size"), size("intermediate_size")
    merged = width * size("spatial_merge_size") ** 2
    colours = size("in_channels") if vision.get("in_channels") else size("in_chans") if vision.get("in_chans") else 3
    patch = colours * size("temporal_patch_size") * size("patch_size") ** 2 * width
    block = 4 * width * width + 4 * width + 3 * width * inner + 2 * inner + width + 2 * width
    out = size("out_hidden_size") if vision.get("out_hidden_size") else text_width
    return patch + size("depth") * block + width + merged * merged + merged + merged * out + out


def _kimi(size: _Sizes, vision: dict[str, Any], text_width: int) -> int:
    """Kimi-K2.5's MoonViT (models/kimi_k25/modeling_kimi_k25.py)."""
    width = size("vt_hidden_size")
    kernel = vision.get("merge_kernel_size", [2, 2])
    if not isinstance(kernel, list) or len(kernel) != 2 or not all(isinstance(side, int) for side in kernel):
        raise InputError(f"expected two whole numbers, got {kernel!r}", key="vision_config.merge_kernel_size")
    merged = width * kernel[0] * kernel[1]
    patch = 3 * size("patch_size") ** 2 * width + width
    positions = size("init_pos_emb_height") * size("init_pos_emb_width") * width
    attention = size("qkv_hidden_size") if vision.get("qkv_hidden_size") else width
    blocks = size("vt_num_hidden_layers") * _block(width, size("vt_intermediate_size"), attention)
    out = size("text_hidden_size") if vision.get("text_hidden_size") else text_width
    return patch + positions + blocks + 2 * width + _merger(merged, width, out)


def _gemma4(size: _Sizes, vision: dict[str, Any], text_width: int) -> int:
    """Gemma 4 (models/gemma4/modeling_gemma4.py): gated MLPs, RMS norms, two tables of positions."""
    width, heads = size("hidden_size"), size("num_attention_heads") * size("head_dim")
    kv = size("num_key_value_heads") * size("head_dim")
    block = width * (2 * heads + 2 * kv) + 3 * width * size("intermediate_size") + 4 * width + 2 * size("head_dim")
    patch = 3 * size("patch_size") ** 2 * width
    return patch + 2 * size("position_embedding_size") * width + size("num_hidden_layers") * block + width * text_width


def _siglip(size: _Sizes, vision: dict[str, Any], text_width: int) -> int:
    """A plain vision transformer with learned positions (CLIP, SigLIP), and one linear projection."""
    width = size("hidden_size")
    patches = (size("image_size") // size("patch_size")) ** 2
    patch = 3 * size("patch_size") ** 2 * width + width
    return (patch + patches * width + size("num_hidden_layers") * _block(width, size("intermediate_size")) + 2 * width
            + width * text_width)


# Keys that tell one tower from another, and how it is counted
_TOWERS: tuple[tuple[tuple[str, ...], Callable[[_Sizes, dict[str, Any], int], int]], ...] = (
    (("depth", "hidden_size", "intermediate_size", "num_position_embeddings", "in_channels", "temporal_patch_size", "patch_size",
      "spatial_merge_size"), _qwen3),
    (("depth", "hidden_size", "intermediate_size", "temporal_patch_size", "patch_size", "spatial_merge_size",
      "fullatt_block_indexes"), _qwen2_5),
    (("vt_hidden_size", "vt_num_hidden_layers", "vt_intermediate_size", "init_pos_emb_height", "init_pos_emb_width",
      "patch_size"), _kimi),
    (("position_embedding_size", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
      "num_hidden_layers", "patch_size"), _gemma4),
    (("hidden_size", "intermediate_size", "num_hidden_layers", "image_size", "patch_size"), _siglip),
)
