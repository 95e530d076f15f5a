"""Recurrent layers (Mamba, Mamba-2, gated delta net, KDA, lightning, short convolutions) and the hybrids they stand in."""

from __future__ import annotations

from math import ceil

from simulator.design.huggingface.attention import FULL, Mixer, heads_of, softmax
from simulator.design.huggingface.keys import Keys
from simulator.design.huggingface.latent import latent
from simulator.design.records.layers import BesideAttention, NoAttention, SoftmaxAttention, StateAttention, StateDtype
from simulator.inputs.errors import InputError

_DTYPES: dict[str, StateDtype] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_LINEAR_NAMES = ("linear_attention", "mamba", "mamba2", "conv", "kda", "M")


def _dtype(read: Keys, key: str) -> StateDtype:
    """The recurrent state's number format; vLLM keeps it in fp32 where the file does not say (observed for Qwen3-Next)."""
    value = read.raw(key)
    if value in (None, "auto"):
        return "fp32"
    if not isinstance(value, str) or value not in _DTYPES:
        raise InputError(f"'{value}' is not one of {', '.join(_DTYPES)}", key=key)
    return _DTYPES[value]


def _kinds(read: Keys, key: str, layers: int, default: list[bool]) -> list[bool]:
    """Whether each layer is recurrent: as listed under `key`, else `default`."""
    names = read.items(key, layers, longer=True)
    if names is None:
        return default
    for name in names:
        if name not in (*_LINEAR_NAMES, "full_attention", "attention"):
            raise InputError(f"'{name}' is not understood in a '{read.model_type}'", key=key)
    return [name in _LINEAR_NAMES for name in names]


def gated_delta_net(read: Keys, layers: int) -> list[Mixer]:
    """Qwen3-Next and Qwen3.5: a gated delta net, and gated full attention in every `full_attention_interval`-th layer."""
    period = read.size("full_attention_interval", 4)
    linear = _kinds(read, "layer_types", layers, [bool((i + 1) % period) for i in range(layers)])
    heads, keys = read.size("linear_num_value_heads"), read.size("linear_num_key_heads")
    key_dim, value_dim = read.size("linear_key_head_dim"), read.size("linear_value_head_dim")
    kernel = read.size("linear_conv_kernel_dim")
    state = StateAttention(kind="gated_delta_net", heads=heads, head_dim=value_dim, state=key_dim, groups=keys, kernel=kernel,
                           state_dtype=_dtype(read, "mamba_ssm_dtype"))
    # decay and step bias of each head, the convolution, the norm of the output
    vectors = 2 * heads + (2 * keys * key_dim + heads * value_dim) * kernel + value_dim
    shape = heads_of(read)
    full = softmax(read, FULL, shape, gate=read.flag("attn_output_gate", True))
    return [Mixer(state, vectors) if here else Mixer(full, 2 * shape[2]) for here in linear]


def mamba2_state(heads: int, head_dim: int, state: int, groups: int, kernel: int, *, dtype: StateDtype, conv_bias: bool,
                 norm: bool) -> Mixer:
    """A Mamba-2 mixer: per head step bias, decay and skip; the convolution; the gated norm."""
    width = heads * head_dim
    channels = width + 2 * groups * state
    found = StateAttention(kind="mamba2", heads=heads, head_dim=head_dim, state=state, groups=groups, kernel=kernel,
                           state_dtype=dtype)
    return Mixer(found, 3 * heads + channels * (kernel + int(conv_bias)) + (width if norm else 0))


def mamba2(read: Keys, layers: int) -> list[Mixer]:
    """Mamba-2 alone."""
    mixer = mamba2_state(read.size("num_heads"), read.size("head_dim"), read.size("state_size"), read.size("n_groups"),
                         read.size("conv_kernel"), dtype="fp32", conv_bias=read.flag("use_conv_bias", True), norm=True)
    read.skip("expand")
    return [mixer] * layers


def mamba(read: Keys, layers: int) -> list[Mixer]:
    """Mamba alone: the state is kept in the model's own 16 bits."""
    hidden = read.size("hidden_size")
    width = read.size("intermediate_size", read.size("expand") * hidden)
    rank = read.raw("time_step_rank") if read.given("time_step_rank") else ceil(hidden / 16)
    rank = ceil(hidden / 16) if rank == "auto" else rank
    return [_mamba(width, read.size("state_size"), rank, read.size("conv_kernel"), read.flag("use_conv_bias", True), norms=False)
            ] * layers


def _mamba(width: int, state: int, rank: int, kernel: int, conv_bias: bool, *, norms: bool) -> Mixer:
    vectors = width * state + width + width * (kernel + int(conv_bias)) + width  # decay, skip, convolution, step bias
    if norms:
        vectors += rank + 2 * state
    return Mixer(StateAttention(kind="mamba", heads=1, head_dim=width, state=state, kernel=kernel, rank=rank,
                                state_dtype="bf16"), vectors)


def jamba(read: Keys, layers: int) -> list[Mixer]:
    """Mamba, and attention in one layer of each `attn_layer_period`."""
    hidden = read.size("hidden_size")
    rank = read.raw("mamba_dt_rank") if read.given("mamba_dt_rank") else ceil(hidden / 16)
    rank = ceil(hidden / 16) if rank == "auto" else rank
    state = _mamba(read.size("mamba_expand") * hidden, read.size("mamba_d_state"), rank, read.size("mamba_d_conv"),
                   read.flag("mamba_conv_bias", True), norms=True)
    full = Mixer(softmax(read, FULL, heads_of(read)))
    period, offset = read.size("attn_layer_period"), read.whole("attn_layer_offset")
    return [full if i % period == offset else state for i in range(layers)]


def bamba(read: Keys, layers: int) -> list[Mixer]:
    """Mamba-2 with attention in listed layers: Bamba (`attn_layer_indices`), Granite 4 (`layer_types`)."""
    indices = read.items("attn_layer_indices") or []
    linear = _kinds(read, "layer_types", layers, [i not in indices for i in range(layers)])
    heads = read.size("mamba_n_heads")
    width = read.size("mamba_expand") * read.size("hidden_size")
    head_dim = width // heads if read.raw("mamba_d_head") == "auto" else read.size("mamba_d_head", width // heads)
    state = mamba2_state(heads, head_dim, read.size("mamba_d_state"), read.size("mamba_n_groups"), read.size("mamba_d_conv"),
                         dtype="fp32", conv_bias=read.flag("mamba_conv_bias", True), norm=True)
    full = Mixer(softmax(read, FULL, heads_of(read)))
    return [state if here else full for here in linear]


def falcon_h1(read: Keys, layers: int) -> list[Mixer]:
    """Attention and Mamba-2 side by side in every layer."""
    heads = read.size("mamba_n_heads")
    width = read.size("mamba_d_ssm", read.size("mamba_expand") * read.size("hidden_size"))
    head_dim = width // heads if read.raw("mamba_d_head") == "auto" else read.size("mamba_d_head", width // heads)
    state = mamba2_state(heads, head_dim, read.size("mamba_d_state"), read.size("mamba_n_groups"), read.size("mamba_d_conv"),
                         dtype="fp32", conv_bias=read.flag("mamba_conv_bias", True), norm=read.flag("mamba_rms_norm"))
    assert isinstance(state.attention, StateAttention)
    read.skip("mamba_use_mlp", "mamba_norm_before_gate", "time_step_rank", "projectors_bias")
    both = BesideAttention(attention=softmax(read, FULL, heads_of(read)), state=state.attention)
    return [Mixer(both, state.vectors)] * layers


def nemotron_h_pattern(read: Keys) -> list[str]:
    """One word per layer: mamba, attention, mlp or moe."""
    names = read.items("layers_block_type") or read.items("layer_types")
    if names is None:
        pattern = read.raw("hybrid_override_pattern")
        if not isinstance(pattern, str):
            raise InputError("is missing", key="hybrid_override_pattern")
        letters = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
        if unknown := set(pattern) - letters.keys():
            raise InputError(f"'{min(unknown)}' is not one of {' '.join(letters)}", key="hybrid_override_pattern")
        names = [letters[letter] for letter in pattern]
    usual = {"linear_attention": "mamba", "full_attention": "attention"}
    return [usual.get(name, name) for name in names]


def nemotron_h(read: Keys, layers: int) -> list[Mixer]:
    """Nemotron-H: each layer is a Mamba-2 mixer, attention, an MLP or experts alone."""
    heads, head_dim = read.size("mamba_num_heads"), read.size("mamba_head_dim")
    state = mamba2_state(heads, head_dim, read.size("ssm_state_size"), read.size("n_groups"), read.size("conv_kernel"),
                         dtype=_dtype(read, "mamba_ssm_cache_dtype"), conv_bias=read.flag("use_conv_bias", True), norm=True)
    read.skip("expand", "head_dim", "attention_head_dim", "num_hidden_layers", "mtp_layers_block_type", "sliding_window")
    if read.whole("sliding_window"):
        raise InputError("is not understood in a 'nemotron_h'", key="sliding_window")
    queries, kv = read.size("num_attention_heads"), read.size("num_key_value_heads", read.size("num_attention_heads"))
    own = "head_dim" if read.given("head_dim") else "attention_head_dim"
    full = Mixer(softmax(read, FULL, (queries, kv, read.size(own, 128))))
    nothing = Mixer(NoAttention())
    return [{"mamba": state, "attention": full}.get(kind, nothing) for kind in nemotron_h_pattern(read)]


def kimi_linear(read: Keys, layers: int) -> list[Mixer]:
    """Kimi delta attention, and latent attention in the layers that `linear_attn_config` (from 1) or `layer_types` lists."""
    # attention residuals (Kimi-K3) weigh the outputs of earlier blocks: a few vectors a layer, not counted
    read.skip("attn_res_block_size")
    if read.given("linear_attn_config"):
        config = read.part("linear_attn_config")
        full, kda = config.items("full_attn_layers") or [], config.items("kda_layers") or []
        if sorted([*full, *kda]) != list(range(1, layers + 1)):
            raise InputError("full_attn_layers and kda_layers must list every layer once", key="linear_attn_config")
        linear = [i + 1 in kda for i in range(layers)]
        heads, head_dim, kernel = config.size("num_heads"), config.size("head_dim"), config.size("short_conv_kernel_size")
        gate_rank = 0 if config.flag("use_full_rank_gate") else head_dim
        config.refuse_unread()
        read.skip("layer_types")
    else:
        linear = _kinds(read, "layer_types", layers, [not (i and i % 4 == 0) for i in range(layers)])
        heads, head_dim = read.size("linear_num_heads"), read.size("linear_head_dim")
        kernel, gate_rank = read.size("linear_conv_kernel_dim"), head_dim
    state = StateAttention(kind="kda", heads=heads, head_dim=head_dim, state=head_dim, kernel=kernel, rank=head_dim,
                           gate_rank=gate_rank)
    width = heads * head_dim
    mixer = Mixer(state, 3 * width * kernel + width + heads + head_dim)  # convolution, step bias, decay, norm
    softmaxes = latent(read, layers)
    return [mixer if here else softmaxes[i] for i, here in enumerate(linear)]


def lightning(read: Keys, layers: int) -> list[Mixer]:
    """MiniMax-Text-01: lightning attention, softmax attention where `attn_type_list` says 1 or `layer_types` full."""
    types = read.items("attn_type_list", layers)
    default = [not here for here in types] if types else [bool(i % 2) for i in range(layers)]
    linear = _kinds(read, "layer_types", layers, default)
    heads, kv_heads, head_dim = heads_of(read)
    state = StateAttention(kind="lightning", heads=heads, head_dim=head_dim, state=head_dim)
    full = Mixer(softmax(read, FULL, (heads, kv_heads, head_dim)))
    read.skip("block_size")
    return [Mixer(state, heads * head_dim) if here else full for here in linear]


def short_conv(read: Keys, layers: int) -> list[Mixer]:
    """LFM2: short convolutions, attention in the layers that `layer_types` or `full_attn_idxs` list."""
    indices = read.items("full_attn_idxs") or []
    linear = _kinds(read, "layer_types", layers, [bool(indices) and i not in indices for i in range(layers)])
    hidden, kernel = read.size("hidden_size"), read.size("conv_L_cache")
    bias = read.flag("conv_bias")
    state = StateAttention(kind="short_conv", heads=1, head_dim=hidden, state=0, kernel=kernel)
    shape = heads_of(read)
    full: SoftmaxAttention = softmax(read, FULL, shape)
    read.skip("conv_dim", "conv_dim_out", "conv_use_xavier_init", "block_dim", "block_ff_dim")
    vectors = hidden * kernel + (5 * hidden if bias else 0)
    return [Mixer(state, vectors) if here else Mixer(full, 2 * shape[2]) for here in linear]
