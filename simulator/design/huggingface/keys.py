"""Typed look-ups in a config.json that name the key when something is wrong with it, and remember what was read."""

from __future__ import annotations

import re
from typing import Any

from simulator.design.huggingface.class_defaults import CLASS_DEFAULTS, LIBRARY
from simulator.inputs.errors import InputError

# Words in names of keys that say how layers are built: such a key that nobody read is refused unless it is switched off.
_STRUCTURAL = re.compile("|".join((
    "layer", "block", "depth", "pattern", "interval", "period", "offset", "freq", "hidden", "width", "size", "n_embed", "d_model",
    "head", "dim$", "dim_", "rank", "lora", "latent", "attn", "attention", "alibi", "window", "chunk", "sparse", "index",
    "compress", "top_?k", "kv_", "_kv", "expert", "moe", "shared", "group", "hash", "mlp", "ffn", "gate", "parallel", "norm_type",
    "qk_norm", "bias$", "mamba", "ssm", "conv", "linear", "vocab", "tie_", "mtp", "nextn", "ratio")))

# Structural by name, yet without effect on sizes, time or context.
_HARMLESS = re.compile("^(" + "|".join((
    "_.*", "auto_map", ".*token.*", "pad_.*", "bos_.*", "eos_.*", "sep_.*", "prefix", ".*placeholder.*", "ignore_index",  # ids
    ".*_eps", ".*epsilon", ".*_act", ".*activation.*", "act_.*", "swiglu.*", "situ.*", ".*clip.*", ".*softcap.*", "softmax.*",
    ".*scal.*", ".*multiplier.*", ".*_factor", "logit.*", ".*logits.*", "attn_temperature_tuning", "query_pre_attn_scalar",
    "attention_value_scale", "scale_attn.*", "reorder_and_upcast_attn", "attention_softmax_in_fp32", "residual_in_fp32",
    ".*_dtype", "norm_before_gate", "gate_lower_bound", "mlp_hidden_act", "mamba_hidden_act", "hc_eps", "hc_sinkhorn_iters",
    "layer_norm_elementwise_affine", "rescale_prenorm_residual",  # arithmetic
    "rope_.*", "rotary_.*", ".*rotary.*", "partial_.*", ".*theta", "no_rope_layers", "no_rope_layer_interval", "attn_type",
    "floor_scale", "indexer_rope_interleave", "qk_head_dim", "original_max_position_embeddings", "initial_context_length",
    "max_sequence_length", "n_ctx", "seq_len.*",  # positions, read by `rope` where they count
    "router_.*", ".*router_.*bias", "moe_router.*", ".*router_scaling_factor", "use_routing_bias", "scoring_func", "topk_method",
    "norm_topk_prob", "topk_group", "n_group", "num_expert_group", "use_grouped_topk", ".*renorm.*", ".*aux.*", ".*loss.*",
    ".*jitter.*", "moe_shared_expert_overlap", "ep_size", "pretraining_tp",  # how experts are chosen
    ".*dropout.*", ".*drop", ".*pdrop", "initializer.*", ".*init.*", "time_step.*", ".*time_step_.*", "mamba_dt_.*",  # training
    "id2label", "label2id", "problem_type", "task_specific_params", "is_decoder", "add_cross_attention",
    "pruned_heads", "cross_attention_hidden_size", "tie_encoder_decoder", "chunk_size_feed_forward",
    "torchscript", "tf_legacy_loss", "return_dict.*", "output_.*", "use_cache.*", "gradient_checkpointing", "summary_.*",
    "bad_words_ids", ".*suppress.*", "top_k", "top_p", "typical_p", "temperature", ".*ngram.*", ".*beam.*", ".*diversity.*",
    "max_length", "min_length", "length_penalty", "repetition_penalty", "num_return_sequences", "num_logits_to_keep", "chat_.*",
    "chunk_size", "mamba_chunk_size", "use_mamba_kernels", "use_mambapy", "use_associative_scan", "fused_.*", ".*flash.*",
    "num_nextn_predict_layers", "num_mtp_.*", "mtp_.*", "use_mtp", "index_share_for_mtp_iteration",  # draft layers
    "image.*", "video.*", "media.*", "vision_soft_tokens.*", "use_bidirectional.*", "compress_rope_theta", "quantization_config",
    # dual chunks renumber positions: every token is still attended, and its key kept (Qwen2.5-1M report, section 3)
    "dual_chunk_attention_config",
    # attention and MLP side by side are the same matrices
    "use_parallel_residual")) + ")$")


class Keys:
    """Look-ups in one config; a missing key takes the default of the reference library's class for `model_type`.

    aliases: the file's own name of a usual key ({"hidden_size": "n_embd"}).
    """

    def __init__(self, config: dict[str, Any], model_type: str, aliases: dict[str, str] | None = None) -> None:
        self._config, self.model_type, self._aliases = config, model_type, aliases or {}
        self._class, self._defaults = CLASS_DEFAULTS.get(model_type, ("", {}))
        self._used: set[str] = set()
        self.assumed: dict[str, Any] = {}  # keys that were missing and what the class says

    def name(self, key: str) -> str:
        """What the file calls `key`."""
        alias = self._aliases.get(key, key)
        return key if key in self._config and alias not in self._config else alias

    def raw(self, key: str) -> Any:
        """The value as it stands, the class's default where the key is missing, None where neither says anything."""
        name = self.name(key)
        self._used |= {key, name}
        if name in self._config:
            return self._config[name]
        default = self._defaults.get(name, self._defaults.get(key))
        if default is not None:
            self.assumed[name] = default
        return default

    def given(self, key: str) -> bool:
        """Whether the file itself gives the key a value other than null."""
        return self._config.get(self.name(key)) is not None

    def size(self, key: str, otherwise: int | None = None) -> int:
        """A positive whole number. otherwise: what a key that is null, or that neither file nor class gives, stands for."""
        value = self.raw(key)
        name = self.name(key)
        if value is None:
            if otherwise is None:
                raise InputError("is missing", key=name)
            return otherwise
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 2**40:
            raise InputError(f"expected a positive whole number, got {value!r}", key=name)
        return value

    def required(self, key: str) -> int:
        """A positive whole number that the file itself must give."""
        if not self.given(key):
            raise InputError("is missing; no default is assumed for it", key=key)
        return self.size(key)

    def whole(self, key: str) -> int:
        """A whole number, 0 where it is missing or null."""
        value = self.raw(key)
        return 0 if value is None or (value == 0 and not isinstance(value, bool)) else self.size(key)

    def flag(self, key: str, otherwise: bool = False) -> bool:
        value = self.raw(key)
        if value is None:
            return otherwise
        if not isinstance(value, bool):
            raise InputError(f"expected true or false, got {value!r}", key=self.name(key))
        return value

    def items(self, key: str, length: int | None = None, *, longer: bool = False) -> list[Any] | None:
        """A list, None where it is missing or null. length: how long it must be; longer: entries beyond are draft layers."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise InputError(f"expected a list, got {type(value).__name__}", key=self.name(key))
        if odd := [entry for entry in value if not isinstance(entry, int | str)]:
            raise InputError(f"expected numbers or words, got {odd[0]!r}", key=self.name(key))
        if length is not None and (len(value) < length or (len(value) > length and not longer)):
            raise InputError(f"lists {len(value)} layers, the model has {length}", key=self.name(key))
        return value[:length] if length is not None else value

    def part(self, key: str) -> Keys:
        """The mapping under `key`, its keys counted as read here."""
        value = self.raw(key)
        if not isinstance(value, dict):
            raise InputError("is missing" if value is None else f"expected a mapping, got {type(value).__name__}", key=key)
        return Keys(value, f"{self.model_type}.{key}")

    def skip(self, *keys: str) -> None:
        """Counts `keys` as understood: they say nothing that was not read elsewhere."""
        self._used |= set(keys)

    def refuse_unread(self) -> None:
        """Raises InputError for a key that says how layers are built and that nobody has read."""
        for key, value in self._config.items():
            off = value is None or value is False or value == 0 or value in ([], {}, "")
            if key not in self._used and not off and _STRUCTURAL.search(key) and not _HARMLESS.match(key):
                raise InputError(f"is not understood in a '{self.model_type}', and may change the answer", key=key)

    @property
    def stated(self) -> str:
        """What was assumed, for the model's source."""
        if not self.assumed:
            return ""
        said = ", ".join(f"{key} {value}" for key, value in self.assumed.items())
        return f"; by default of {LIBRARY}'s {self._class}: {said}"
