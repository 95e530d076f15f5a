"""A Hugging Face `config.json` as an Architecture: read as the reference library reads it, or refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from simulator.design.huggingface.attention import Mixer, heads_of, softmax
from simulator.design.huggingface.families import FAMILIES, SAME, Family, Rule
from simulator.design.huggingface.keys import Keys
from simulator.design.huggingface.mlps import Block
from simulator.design.huggingface.quantization import checkpoint_precision
from simulator.design.huggingface.rope import longest_context
from simulator.design.huggingface.states import nemotron_h_pattern
from simulator.design.huggingface.vision import vision_parameters
from simulator.design.huggingface.wrappers import text_model
from simulator.design.records.layers import Attention, DenseMlp, ExpertsMlp, LayerType, Mlp, Run, SoftmaxAttention
from simulator.design.records.model import Architecture
from simulator.inputs.errors import InputError

# Classes whose head is none over the vocabulary
_OTHER_HEADS = re.compile("Classification|QuestionAnswering|MaskedLM|Reward|Embedding|MultipleChoice")

_Layer = tuple[Attention, Mlp, int]  # and vectors


@dataclass(frozen=True)
class _Whole:
    """What a file says of the whole model."""

    family: Family
    hidden: int
    vocab: int
    positions: int
    tied: bool
    embedding: int  # width of the embedding, the model's own unless projected
    other: int  # parameters outside layers and tables
    biases: dict[str, bool]


def looks_like_config(plain: dict[str, Any]) -> bool:
    """Whether a mapping is a Hugging Face config.json rather than an `Architecture`."""
    return "model_type" in plain or "architectures" in plain


def architecture_from_config(config: dict[str, Any], name: str, quantization: dict[str, Any] | None = None) -> Architecture:
    """The model in `config` (the parsed config.json) as an Architecture called `name`.

    quantization: the parsed hf_quant_config.json of the same checkpoint, where there is one.
    Raises InputError naming the key: missing or malformed keys, a `model_type` that is not known, keys that say how layers are
    built and are not understood.
    """
    if not isinstance(config, dict):
        raise InputError(f"expected the object of a config.json, got {type(config).__name__}")
    model_type = _model_type(config)
    text, text_type, within = text_model({**config, "model_type": model_type})
    try:
        found = _read(text, text_type, name, config, quantization)
    except InputError as error:
        raise error.within(prefix=within or None) from None
    except ValidationError as error:  # sizes that contradict each other, found by the records
        raise InputError(error.errors()[0]["msg"].removeprefix("Value error, "), key=within or None) from None
    vision = vision_parameters(config, found.hidden)
    return found.model_copy(update={"vision_parameters": vision}) if vision else found


def _model_type(config: dict[str, Any]) -> str:
    if config.get("is_encoder_decoder"):
        raise InputError("encoder-decoder models are not supported", key="is_encoder_decoder")
    classes = config.get("architectures") or []
    if not isinstance(classes, list):
        raise InputError(f"expected a list, got {classes!r}", key="architectures")
    for architecture in classes:
        if _OTHER_HEADS.search(str(architecture)):
            raise InputError(f"'{architecture}' does not generate text: only decoders with a language-model head are supported",
                             key="architectures")
    model_type = config.get("model_type")
    if model_type is None:
        raise InputError("is missing", key="model_type")
    if not isinstance(model_type, str):
        raise InputError(f"expected text, got {model_type!r}", key="model_type")
    return model_type


def _read(text: dict[str, Any], text_type: str, name: str, config: dict[str, Any],
          quantization: dict[str, Any] | None) -> Architecture:
    usual = SAME.get(text_type, text_type)
    family = FAMILIES.get(usual)
    if family is None:
        why = ": it needs its repository's own code" if config.get("auto_map") else ""
        raise InputError(f"'{text_type}' is not supported{why}; no other type is assumed in its place", key="model_type")
    read = Keys(text, usual, family.names)
    layers = len(nemotron_h_pattern(read)) if usual == "nemotron_h" else read.size("num_hidden_layers")
    mixers, blocks = _mixers(read, family, layers), family.mlp(read, layers)
    whole = _whole(read, family)
    stack = [_layer(read, family, whole, mixer, block) for mixer, block in zip(mixers, blocks, strict=True)]
    for key, only in family.facts.items():
        if read.given(key) and read.raw(key) != only:
            raise InputError(f"{read.raw(key)!r} is not understood in a '{text_type}', only {only!r} is", key=key)
    read.refuse_unread()
    precision = checkpoint_precision(config, text, quantization, stack)
    origin = config.get("_name_or_path")
    named = isinstance(origin, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", origin) and not origin.startswith(".")
    source = f"config.json of {origin} on Hugging Face" if named else f"Hugging Face config.json ({config['model_type']})"
    fields: dict[str, Any] = {
        "name": name, "source": source + read.stated, "layers": layers, "hidden": whole.hidden, "vocab": whole.vocab,
        "max_positions": whole.positions, "tied_embeddings": whole.tied, "norm": family.norm,
        "learned_positions": family.positions is not None, "checkpoint": precision,
        "embedding_dim": None if whole.embedding == whole.hidden else whole.embedding,
    }
    flat = _flat(stack, whole)
    return Architecture(**fields, **(flat if flat is not None else _layered(stack, whole)))


def _mixers(read: Keys, family: Family, layers: int) -> list[Mixer]:
    if family.mixers is not None:
        return family.mixers(read, layers)
    assert family.reach is not None
    shape = heads_of(read)
    return [Mixer(softmax(read, reach, shape)) for reach in family.reach(read, layers)]


def _whole(read: Keys, family: Family) -> _Whole:
    hidden, vocab = read.size("hidden_size"), read.size("vocab_size")
    norm = hidden if family.norm == "rms" else 2 * hidden
    other = norm if _rule(read, family.final_norm) else 0
    if family.embedding_norm:
        other += norm
    if _rule(read, family.head_bias):
        other += vocab
    if family.positions:
        other += family.positions * hidden
    if family.other is not None:
        other += family.other(read)
    biases = {"qkv": _rule(read, family.qkv_bias), "output": _rule(read, family.output_bias), "mlp": _rule(read, family.mlp_bias),
              "norm": _rule(read, family.qk_norm)}
    embedding = read.size("word_embed_proj_dim", hidden) if read.given("word_embed_proj_dim") else hidden
    positions = longest_context(read)
    return _Whole(family, hidden, vocab, positions, read.flag("tie_word_embeddings", family.tied), embedding, other, biases)


def _rule(read: Keys, rule: Rule) -> bool:
    return rule if isinstance(rule, bool) else read.flag(rule)


def _layer(read: Keys, family: Family, whole: _Whole, mixer: Mixer, block: Block) -> _Layer:
    """One layer and its parameters that are no matrix: norms, biases, sinks."""
    norms = family.norms if isinstance(family.norms, int) else family.norms(read)
    vectors = mixer.vectors + block.vectors + norms * whole.hidden * (1 if family.norm == "rms" else 2)
    attention = mixer.attention
    if isinstance(attention, SoftmaxAttention) and family.mixers is None:
        queries, kv = attention.heads * attention.head_dim, attention.kv_heads * attention.head_dim
        vectors += queries + 2 * kv if whole.biases["qkv"] else 0
        vectors += whole.hidden if whole.biases["output"] else 0
        vectors += 2 * attention.head_dim * (1 if family.norm == "rms" else 2) if whole.biases["norm"] else 0
        vectors += queries + kv if family.row_norm is True or _rule(read, family.head_norm_each) else 0
        vectors += attention.heads if family.sinks else 0
    if whole.biases["mlp"] and isinstance(block.mlp, DenseMlp):
        vectors += (2 if block.mlp.gated else 1) * block.mlp.width + whole.hidden
    return attention, block.mlp, vectors


def _flat(stack: list[_Layer], whole: _Whole) -> dict[str, Any] | None:
    """The flat keys of a model whose layers all have the same full attention, None for any other. What their count of norms
    and biases misses becomes `other_parameters`."""
    attention, first, _ = stack[0]
    if not isinstance(attention, SoftmaxAttention) or any(layer[0] != attention for layer in stack):
        return None
    if attention != SoftmaxAttention(kind="full", heads=attention.heads, kv_heads=attention.kv_heads, head_dim=attention.head_dim):
        return None
    dense = [mlp for _, mlp, _ in stack if isinstance(mlp, DenseMlp)]
    routed = [mlp for _, mlp, _ in stack if isinstance(mlp, ExpertsMlp)]
    if len(set(dense)) > 1 or len(set(routed)) > 1 or len(dense) + len(routed) < len(stack):
        return None
    if [mlp for _, mlp, _ in stack] != [*dense, *routed] or (routed and (routed[0].latent or routed[0].dense_width)):
        return None
    gated = first.gated if isinstance(first, DenseMlp | ExpertsMlp) else False
    biases = whole.biases if whole.family.mixers is None else {}
    found: dict[str, Any] = {
        "heads": attention.heads, "kv_heads": attention.kv_heads, "head_dim": attention.head_dim, "gated_mlp": gated,
        "intermediate": dense[0].width if dense else routed[0].width, "qkv_bias": biases.get("qkv", False),
        "output_bias": biases.get("output", False), "mlp_bias": whole.biases["mlp"],
        "qk_norm": biases.get("norm", False) or whole.family.row_norm is True,
    }
    if routed:
        mlp = routed[0]
        found |= {"experts": mlp.experts, "experts_per_token": mlp.per_token, "expert_intermediate": mlp.width,
                  "shared_intermediate": mlp.shared_width, "dense_layers": len(dense)}
    trial = Architecture(name="", layers=len(stack), hidden=whole.hidden, vocab=whole.vocab, max_positions=whole.positions,
                         norm=whole.family.norm, **found)
    counted = len(dense) * trial.vectors(routed=False) + len(routed) * trial.vectors(routed=True)
    counted += whole.hidden if whole.family.norm == "rms" else 2 * whole.hidden
    missed = sum(vectors for _, _, vectors in stack) + whole.other - counted
    return {**found, "other_parameters": missed or None}


def _layered(stack: list[_Layer], whole: _Whole) -> dict[str, Any]:
    """Layer types, named by what they are made of, and their order."""
    names: dict[_Layer, str] = {}
    for layer in stack:
        if layer not in names:
            words = [part.kind for part in layer[:2] if part.kind != "none"]
            base = "-".join(words) or "nothing"
            taken = [name for name in names.values() if name == base or name.startswith(f"{base}-")]
            names[layer] = base if not taken else f"{base}-{len(taken) + 1}"
    types = tuple(LayerType(name=name, attention=layer[0], mlp=layer[1], vectors=layer[2]) for layer, name in names.items())
    return {"layer_types": types, "order": runs([names[layer] for layer in stack]), "other_parameters": whole.other or None}


def runs(names: list[str]) -> tuple[Run, ...]:
    """A list of names as repeated sequences: a, b, a, b, c is twice (a, b) and once c."""
    found: list[Run] = []
    start = 0
    while start < len(names):
        length, times = 1, 1
        for period in range(1, (len(names) - start) // 2 + 1):
            repeat = 1
            while names[start + repeat * period: start + (repeat + 1) * period] == names[start: start + period]:
                repeat += 1
            if repeat > 1 and repeat * period > length * times:
                length, times = period, repeat
        found.append(Run(types=tuple(names[start: start + length]), repeat=times))
        start += length * times
    return tuple(found)
