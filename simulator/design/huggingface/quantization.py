"""Number formats per part, as a checkpoint's `quantization_config` and hf_quant_config.json say.

A part of a layer stays in 16 bits where the file's list of ignored modules names the matrix that is its bulk. Norms, routers and
embeddings always do; the head, unless the file says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from simulator.design.records.layers import Attention, DenseMlp, ExpertsMlp, LatentAttention, Mlp, NoAttention, StateAttention
from simulator.design.records.model import Dtype, PartName, PartPrecision, Precision
from simulator.inputs.errors import InputError

_KEY = "quantization_config"
_IGNORED = ("ignore", "ignored_layers", "modules_to_not_convert", "exclude_modules")

# modelopt's algorithms: weights, activations (modelopt/torch/quantization, "quant_algo")
_ALGORITHMS: dict[str, tuple[Dtype, Dtype]] = {
    "FP8": ("fp8", "fp8"), "FP8_PER_CHANNEL_PER_TOKEN": ("fp8", "fp8"), "FP8_PB_WO": ("fp8_block", "fp8"),
    "FP8_PB_REAL": ("fp8_block", "fp8"), "NVFP4": ("nvfp4", "nvfp4"), "W4A16_NVFP4": ("nvfp4", "bf16"), "MXFP4": ("mxfp4", "mxfp4"),
    "W4A8_MXFP4_FP8": ("mxfp4", "fp8"), "W4A16_AWQ": ("int4", "bf16"), "W4A8_AWQ": ("int4", "fp8"), "INT8_SQ": ("int8", "int8"),
    "W8A16": ("int8", "bf16"), "W4A16": ("int4", "bf16"),
}

# How a layer's modules are called, below the layer's own name; the first of each part is its bulk
_SOFTMAX = ("self_attn.q_proj", "self_attn.qkv_proj", "self_attn.query_key_value", "mixer.q_proj", "attn.q_proj", "attention.wqkv")
_LATENT = ("self_attn.q_b_proj", "self_attn.q_proj", "self_attn.wq_b", "attn.wq_b")
_STATE = ("linear_attn.in_proj_qkvz", "linear_attn.in_proj_qkv", "mixer.in_proj", "mamba.in_proj", "self_attn.q_proj")
_SOFTMAX_OUT = ("self_attn.o_proj", "self_attn.dense", "mixer.o_proj", "attn.out_proj", "attention.wo")
_STATE_OUT = ("linear_attn.out_proj", "mixer.out_proj", "mamba.out_proj", "self_attn.o_proj")
_DENSE = ("mlp.up_proj", "mlp.gate_up_proj", "mlp.gate_proj", "mlp.down_proj", "feed_forward.up_proj", "mixer.up_proj", "mlp.fc1")
_EXPERTS = ("mlp.experts.0.up_proj", "mlp.experts.gate_up_proj", "block_sparse_moe.experts.0.w1", "mixer.experts.0.up_proj",
            "feed_forward.experts.gate_up_proj", "mlp.experts.0.gate_proj", "ffn.experts.0.w1")
_SHARED = ("mlp.shared_experts.up_proj", "mlp.shared_expert.up_proj", "mixer.shared_experts.up_proj",
           "feed_forward.shared_expert.up_proj", "block_sparse_moe.shared_experts.up_proj")
_PREFIXES = ("model.layers", "model.language_model.layers", "language_model.model.layers", "backbone.layers", "transformer.h",
             "language_model.layers", "layers")


@dataclass(frozen=True)
class _Format:
    weights: Dtype
    activations: Dtype
    stored_bits: float | None = None

    def part(self, kept: tuple[int, ...] = ()) -> PartPrecision:
        return PartPrecision(weights=self.weights, activations=self.activations, stored_bits=self.stored_bits, kept_layers=kept)


def checkpoint_precision(config: dict[str, Any], text: dict[str, Any], quantization: dict[str, Any] | None,
                         stack: list[tuple[Attention, Mlp, int]]) -> Precision | None:
    """The formats of the checkpoint, None where it is not quantised.

    config, text: the whole file and its text model. quantization: hf_quant_config.json. stack: every layer's attention and MLP.
    Raises InputError for a method or a format that is not understood.
    """
    said = config.get(_KEY) or text.get(_KEY)
    beside = (quantization or {}).get("quantization")
    if said is None and beside is None:
        return None
    for found, where in ((said, _KEY), (beside, "hf_quant_config.json: quantization")):
        if found is not None and not isinstance(found, dict):
            raise InputError(f"expected a mapping, got {type(found).__name__}", key=where)
    both = {**(beside or {}), **(said or {})}
    patterns = [p for source in (said or {}, beside or {}) for key in _IGNORED for p in _names(source, key)]
    kv = _kv_format(both)
    if isinstance(both.get("quantized_layers"), dict):
        return _listed(both["quantized_layers"], stack, kv)
    return _precision(_formats(both), _experts_format(config, text), patterns, stack, kv, head=both.get("lm_head") is True)


def _names(said: dict[str, Any], key: str) -> list[str]:
    found = said.get(key) or []
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InputError("expected a list of modules", key=f"{_KEY}.{key}")
    return found


def _precision(base: dict[str, _Format], experts: _Format | None, patterns: list[str], stack: list[tuple[Attention, Mlp, int]],
               kv: Dtype, *, head: bool) -> Precision:
    """base: format of the targets that a file lists ("" for all linear layers)."""
    usual, ignored = base.get(""), _Patterns(patterns)
    fields: dict[str, Any] = {"kv": kv, "weights": "bf16", "activations": "bf16"}
    if usual is not None:
        fields |= {"weights": usual.weights, "activations": usual.activations}
        if usual.stored_bits:
            fields["stored_bits"] = usual.stored_bits
    for part in _PARTS:
        of_layer = {i: names for i, layer in enumerate(stack) if (names := _modules(part, layer[0], layer[1]))}
        own = experts if part == "experts" and experts else _targeted(base, part, of_layer)
        if own is None or not of_layer:
            continue
        kept = tuple(i for i, names in of_layer.items() if ignored.any_of(names, i))
        if len(kept) == len(of_layer):
            if usual is not None:
                fields[part] = PartPrecision(weights="bf16")
        elif kept or own != usual or (part == "attention_output" and "attention" in fields):
            fields[part] = own.part(kept)
    if head and usual is not None:
        fields["head"] = usual.part()
    return Precision(**fields)


_PARTS: tuple[PartName, ...] = ("attention", "attention_output", "mlp", "experts", "shared_experts")


def _modules(part: PartName, attention: Attention, mlp: Mlp) -> tuple[str, ...]:
    """What the modules of `part` may be called in a layer; empty where the layer has no such part."""
    state = isinstance(attention, StateAttention)
    match part:
        case "attention" | "attention_output" if isinstance(attention, NoAttention):
            return ()
        case "attention":
            return _STATE if state else _LATENT if isinstance(attention, LatentAttention) else _SOFTMAX
        case "attention_output":
            return _STATE_OUT if state else _SOFTMAX_OUT
        case "mlp":
            return _DENSE if isinstance(mlp, DenseMlp) or (isinstance(mlp, ExpertsMlp) and mlp.dense_width) else ()
        case "experts":
            return _EXPERTS if isinstance(mlp, ExpertsMlp) else ()
        case "shared_experts":
            return _SHARED if isinstance(mlp, ExpertsMlp) and mlp.shared_width else ()
    return ()


def _targeted(base: dict[str, _Format], part: PartName, of_layer: dict[int, tuple[str, ...]]) -> _Format | None:
    """The format of the group whose targets name the part, else of all linear layers."""
    for target, found in base.items():
        if target and any(_Patterns([target]).any_of(names, i) for i, names in of_layer.items()):
            return found
    return base.get("")


class _Patterns:
    """A file's list of modules: regular expressions after `re:`, globs, or whole words between dots."""

    def __init__(self, patterns: list[str]) -> None:
        self._words = {p for p in patterns if not p.startswith("re:") and "*" not in p}
        globs = [translate(form) for p in patterns if not p.startswith("re:") and "*" in p for form in (p, f"{p}.*")]
        self._globs = re.compile("|".join(globs)) if globs else None
        self._regular = [_compiled(p[3:]) for p in patterns if p.startswith("re:")]

    def name(self, module: str) -> bool:
        """Whether one of them names `module`, given by its full dotted name."""
        if self._words:
            parts = module.split(".")
            ends = range(len(parts) + 1)
            if any(".".join(parts[i:j]) in self._words for j in ends for i in range(j)):
                return True
        return bool(self._globs and self._globs.match(module)) or any(p.match(module) for p in self._regular)

    def any_of(self, names: tuple[str, ...], layer: int) -> bool:
        """Whether one of them names one of a part's modules in this layer."""
        return any(self.name(f"{prefix}.{layer}.{name}") for prefix in _PREFIXES for name in names)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"'{pattern}' is no regular expression: {error}", key=f"{_KEY}.ignore") from None


def _listed(layers: dict[str, Any], stack: list[tuple[Attention, Mlp, int]], kv: Dtype) -> Precision:
    """Of a file that lists every quantised module with its own algorithm (modelopt's MIXED_PRECISION)."""
    fields: dict[str, Any] = {"kv": kv, "weights": "bf16", "activations": "bf16"}
    for part in _PARTS:
        kept, formats = [], []
        for i, layer in enumerate(stack):
            names = _modules(part, layer[0], layer[1])
            said = next((layers[name] for prefix in _PREFIXES for own in names if (name := f"{prefix}.{i}.{own}") in layers), None)
            if said is not None:
                formats.append(_algorithm(said))
            elif names:
                kept.append(i)
        if len(set(formats)) > 1:
            raise InputError(f"its {part} are in several formats, which is not understood", key="quantized_layers")
        if formats:
            fields[part] = formats[0].part(tuple(kept))
    if "lm_head" in layers:
        fields["head"] = _algorithm(layers["lm_head"]).part()
    return Precision(**fields)


def _formats(said: dict[str, Any]) -> dict[str, _Format]:
    """Format by target, "" for all linear layers that no other target names."""
    method = said.get("quant_method") or ("modelopt" if said.get("quant_algo") else None)
    match method:
        case "modelopt" | "modelopt_fp4" | "modelopt_mixed" | "NVFP4":
            return {"": _algorithm(said)}
        case "fp8" | "fbgemm_fp8":
            return {"": _Format("fp8_block" if said.get("weight_block_size") else "fp8", "fp8")}
        case "mxfp4":
            return {target: _Format("mxfp4", "bf16") for target in ("mlp.experts.gate_up_proj",)}
        case "compressed-tensors":
            return _groups(said)
        case "awq" | "gptq" | "awq_marlin" | "gptq_marlin" | "auto-round":
            return {"": _integers(said, method)}
        case "bitsandbytes":
            return {"": _bitsandbytes(said)}
    raise InputError(f"'{method}' is not supported; read are modelopt, fp8, mxfp4, compressed-tensors, awq, gptq and bitsandbytes",
                     key=f"{_KEY}.quant_method")


def _algorithm(said: Any) -> _Format:
    if not isinstance(said, dict):
        raise InputError(f"expected a mapping, got {said!r}", key=_KEY)
    algorithm = said.get("quant_algo")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise InputError(f"'{algorithm}' is not supported; one of: {', '.join(sorted(_ALGORITHMS))}", key=f"{_KEY}.quant_algo")
    weights, activations = _ALGORITHMS[algorithm]
    group = said.get("group_size")
    return _Format(weights, activations, 4 + 16 / group if weights == "int4" and isinstance(group, int) and group > 0 else None)


def _integers(said: dict[str, Any], method: str) -> _Format:
    """AWQ and GPTQ: groups share a 16-bit scale and a zero point as wide as a weight, which both layouts store."""
    bits, group = said.get("bits", said.get("w_bit", 4)), said.get("group_size", said.get("q_group_size", 128))
    if bits not in (4, 8) or isinstance(bits, bool) or not isinstance(group, int):
        raise InputError(f"{bits} bits in groups of {group} are not supported by {method}, 4 or 8 bits are", key=f"{_KEY}.bits")
    return _Format("int4" if bits == 4 else "int8", "bf16", bits + (16 + bits) / group if group > 0 else None)


def _bitsandbytes(said: dict[str, Any]) -> _Format:
    if said.get("load_in_8bit") or said.get("_load_in_8bit"):
        return _Format("int8", "int8")
    if not (said.get("load_in_4bit") or said.get("_load_in_4bit")):
        raise InputError("says neither load_in_4bit nor load_in_8bit", key=_KEY)
    # double quantisation keeps 8 bits a maximum, and an fp32 per 256 of those (bitsandbytes, functional.py)
    twice = 4 + 8 / 64 + 32 / (64 * 256)
    return _Format("nf4", "bf16", twice if said.get("bnb_4bit_use_double_quant") else None)


def _groups(said: dict[str, Any]) -> dict[str, _Format]:
    """compressed-tensors: groups of targets with a scheme each."""
    groups = said.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        raise InputError("is missing", key=f"{_KEY}.config_groups")
    found: dict[str, _Format] = {}
    for name, group in groups.items():
        key = f"{_KEY}.config_groups.{name}"
        if not isinstance(group, dict) or not isinstance(group.get("weights"), dict):
            raise InputError("has no weights", key=key)
        scheme = _scheme(group["weights"], group.get("input_activations"), key)
        for target in _names(group, "targets") or ["Linear"]:
            found["" if target == "Linear" else str(target)] = scheme
    return found


def _scheme(weights: dict[str, Any], activations: Any, key: str) -> _Format:
    if activations is not None and not isinstance(activations, dict):
        raise InputError(f"expected a mapping, got {activations!r}", key=f"{key}.input_activations")
    bits, kind, group = weights.get("num_bits"), weights.get("type"), weights.get("group_size")
    taken: Dtype = "bf16" if activations is None else _plain(activations.get("num_bits"), activations.get("type"),
                                                             activations.get("group_size"), f"{key}.input_activations")
    dtype = _plain(bits, kind, group, f"{key}.weights")
    if dtype == "fp8" and weights.get("strategy") == "block":
        dtype = "fp8_block"
    stored = None
    if kind == "int" and isinstance(bits, int) and isinstance(group, int) and group > 0:
        stored = bits + (16 + (0 if weights.get("symmetric", True) else bits)) / group
    return _Format(dtype, taken, stored)


def _plain(bits: Any, kind: Any, group: Any, key: str) -> Dtype:
    formats: dict[tuple[Any, Any], Dtype] = {(8, "float"): "fp8", (8, "int"): "int8", (4, "int"): "int4",
                                             (4, "float"): "mxfp4" if group == 32 else "nvfp4"}
    if not isinstance(bits, int) or not isinstance(kind, str) or (bits, kind) not in formats:
        raise InputError(f"{bits} bits of type '{kind}' are not supported", key=key)
    return formats[bits, kind]


def _experts_format(config: dict[str, Any], text: dict[str, Any]) -> _Format | None:
    """DeepSeek-V4 stores its routed experts in FP4 with a scale per 32, beside FP8 for the rest."""
    said = config.get("expert_dtype") or text.get("expert_dtype")
    if said is None:
        return None
    if said not in ("fp4", "mxfp4"):
        raise InputError(f"'{said}' is not supported, fp4 is", key="expert_dtype")
    return _Format("mxfp4", "fp8")


def _kv_format(said: dict[str, Any]) -> Dtype:
    scheme = said.get("kv_cache_scheme") or said.get("kv_cache_quant_algo")
    if scheme in (None, "NONE"):
        return "bf16"
    if isinstance(scheme, dict):
        return _plain(scheme.get("num_bits"), scheme.get("type"), scheme.get("group_size"), f"{_KEY}.kv_cache_scheme")
    known: dict[Any, Dtype] = {"FP8": "fp8", "fp8": "fp8", "static": "fp8", "dynamic": "fp8", "INT8": "int8", "NVFP4": "nvfp4"}
    if not isinstance(scheme, str) or scheme not in known:
        raise InputError(f"'{scheme}' is not supported", key=f"{_KEY}.kv_cache_scheme")
    return known[scheme]
