"""The MLP of every layer: dense, or experts in all layers, after the first ones, or in every n-th."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.design.huggingface.keys import Keys
from simulator.design.huggingface.states import nemotron_h_pattern
from simulator.design.records.layers import DenseMlp, ExpertsMlp, Mlp, NoMlp
from simulator.inputs.errors import InputError


@dataclass(frozen=True)
class Block:
    """What stands in a layer's MLP place, and its parameters that are no matrix."""

    mlp: Mlp
    vectors: int = 0


def dense(read: Keys, layers: int, gated: bool = True) -> list[Block]:
    """One width for all layers."""
    return [Block(DenseMlp(width=read.size("intermediate_size"), gated=gated))] * layers


def plain(read: Keys, layers: int) -> list[Block]:
    return dense(read, layers, gated=False)


def four_times(read: Keys, layers: int) -> list[Block]:
    """GPT's: as wide as said, else four times the model."""
    return [Block(DenseMlp(width=read.size("intermediate_size", 4 * read.size("hidden_size")), gated=False))] * layers


def four_times_always(read: Keys, layers: int) -> list[Block]:
    return [Block(DenseMlp(width=4 * read.size("hidden_size"), gated=False))] * layers


def falcon(read: Keys, layers: int) -> list[Block]:
    """Four times the model, unless `ffn_hidden_size` says otherwise; the class's default is of the 7B alone."""
    width = read.size("ffn_hidden_size") if read.given("ffn_hidden_size") else 4 * read.size("hidden_size")
    return [Block(DenseMlp(width=width, gated=False))] * layers


def halved(read: Keys, layers: int) -> list[Block]:
    """Qwen-7B: `intermediate_size` is of both projections together."""
    return [Block(DenseMlp(width=read.size("intermediate_size") // 2, gated=True))] * layers


def mpt(read: Keys, layers: int) -> list[Block]:
    return [Block(DenseMlp(width=read.size("expansion_ratio") * read.size("hidden_size"), gated=False))] * layers


def lfm2(read: Keys, layers: int) -> list[Block]:
    """LFM2's: two thirds of the width, rounded up to a multiple of `block_multiple_of`."""
    width = read.size("intermediate_size")
    if read.flag("block_auto_adjust_ff_dim", True):
        factor, step = read.raw("block_ffn_dim_multiplier"), read.size("block_multiple_of", 256)
        width = int(2 * width / 3)
        width = int((1.0 if factor is None else factor) * width)
        width = step * -(-width // step)
    read.skip("block_use_swiglu", "block_norm_eps", "block_mlp_init_scale")
    return [Block(DenseMlp(width=width, gated=True))] * layers


def apertus(read: Keys, layers: int) -> list[Block]:
    """A plain MLP whose activation learns two numbers."""
    return [Block(block.mlp, 2) for block in plain(read, layers)]


def no_mlp(read: Keys, layers: int) -> list[Block]:
    return [Block(NoMlp())] * layers


def mixtral(read: Keys, layers: int) -> list[Block]:
    """All layers routed, experts as wide as `intermediate_size`."""
    mlp = ExpertsMlp(experts=read.required("num_local_experts"), per_token=read.required("num_experts_per_tok"),
                     width=read.size("intermediate_size"), gated=True, shared_width=read.whole("shared_intermediate_size"))
    return [Block(mlp)] * layers


def olmoe(read: Keys, layers: int) -> list[Block]:
    mlp = ExpertsMlp(experts=read.required("num_experts"), per_token=read.required("num_experts_per_tok"),
                     width=read.size("intermediate_size"), gated=True)
    return [Block(mlp)] * layers


def granite_hybrid(read: Keys, layers: int) -> list[Block]:
    """Granite 4: experts beside a shared MLP; without experts the shared MLP alone."""
    if read.whole("num_local_experts"):
        return mixtral(read, layers)
    read.skip("num_experts_per_tok", "intermediate_size")
    return [Block(DenseMlp(width=read.size("shared_intermediate_size"), gated=True))] * layers


def qwen_moe(read: Keys, layers: int) -> list[Block]:
    """Experts in every `decoder_sparse_step`-th layer that `mlp_only_layers` does not list."""
    step, without = read.size("decoder_sparse_step", 1), read.items("mlp_only_layers") or []
    shared = read.whole("shared_expert_intermediate_size")
    routed = Block(ExpertsMlp(experts=read.required("num_experts"), per_token=read.required("num_experts_per_tok"),
                              width=read.required("moe_intermediate_size"), gated=True, shared_width=shared),
                   read.size("hidden_size") if shared else 0)  # a gate of the shared expert
    here = [i not in without and (i + 1) % step == 0 for i in range(layers)]
    read.skip("intermediate_size")
    return [routed if i else dense(read, 1)[0] for i in here]


def deepseek(read: Keys, layers: int) -> list[Block]:
    """Shared experts beside routed ones; plain MLPs in the first layers, or where the file's lists say so."""
    width = read.required("moe_intermediate_size")
    shared = width * read.whole("n_shared_experts")
    latent = read.whole("routed_expert_hidden_size")  # Kimi-K3: routed experts on a narrower stream
    read.skip("num_experts", "num_local_experts", "share_expert_dim", "shared_intermediate_size")
    mlp = ExpertsMlp(experts=read.required("n_routed_experts"), per_token=read.required("num_experts_per_tok"), width=width,
                     gated=True, shared_width=shared, latent=latent if latent != read.size("hidden_size") else 0)
    return _where(read, layers, Block(mlp, latent if read.flag("latent_moe_use_norm") else 0))


def _where(read: Keys, layers: int, routed: Block) -> list[Block]:
    """`routed` where the file puts experts, a plain MLP elsewhere."""
    types, frequency = read.items("mlp_layer_types", layers, longer=True), read.raw("moe_layer_freq")
    first = read.whole("first_k_dense_replace")
    if types is not None:
        if unknown := set(types) - {"dense", "sparse"}:
            raise InputError(f"'{min(unknown)}' is not understood", key="mlp_layer_types")
        here = [kind == "sparse" for kind in types]
    elif isinstance(frequency, list):
        read.items("moe_layer_freq", layers)
        here = [bool(one) for one in frequency]
    else:
        step = read.size("moe_layer_freq", 1)
        here = [i >= first and i % step == 0 for i in range(layers)]
    if all(here):
        read.skip("intermediate_size", "dense_intermediate_size")
        return [routed] * layers
    width = read.size("dense_intermediate_size") if read.given("dense_intermediate_size") else read.size("intermediate_size")
    return [routed if one else Block(DenseMlp(width=width, gated=True)) for one in here]


def deepseek_v4(read: Keys, layers: int) -> list[Block]:
    """Experts everywhere; the first `num_hash_layers` choose them by a fixed table of tokens, with a router all the same."""
    read.skip("num_hash_layers", "intermediate_size", "mlp_layer_types", "num_local_experts")
    width = read.required("moe_intermediate_size")
    mlp = ExpertsMlp(experts=read.required("n_routed_experts"), per_token=read.required("num_experts_per_tok"), width=width,
                     gated=True, shared_width=width * read.whole("n_shared_experts"))
    return [Block(mlp)] * layers


def minimax_m2(read: Keys, layers: int) -> list[Block]:
    """As Mixtral's; every entry of `attn_type_list` must say softmax attention."""
    if not all(kind == 1 for kind in read.items("attn_type_list", layers) or ()):
        raise InputError("lists layers without softmax attention", key="attn_type_list")
    return mixtral(read, layers)


def minimax_m3(read: Keys, layers: int) -> list[Block]:
    width = read.size("moe_intermediate_size") if read.given("moe_intermediate_size") else read.size("intermediate_size")
    shared = width * read.whole("n_shared_experts") if read.given("n_shared_experts") else read.whole("shared_intermediate_size")
    read.skip("shared_intermediate_size", "n_shared_experts", "intermediate_size")
    mlp = ExpertsMlp(experts=read.required("num_local_experts"), per_token=read.required("num_experts_per_tok"), width=width,
                     gated=True, shared_width=shared)
    return _where(read, layers, Block(mlp))


def step3(read: Keys, layers: int) -> list[Block]:
    """Step-3.5 and later: one shared expert of `share_expert_dim` beside the routed ones."""
    read.skip("n_shared_experts", "moe_layers_enum")
    mlp = ExpertsMlp(experts=read.required("num_experts"), per_token=read.required("num_experts_per_tok"),
                     width=read.required("moe_intermediate_size"), gated=True, shared_width=read.whole("share_expert_dim"))
    if read.given("mlp_layer_types"):
        return _where(read, layers, Block(mlp))
    first = read.whole("first_k_dense_replace") or 3
    plain_mlp = Block(DenseMlp(width=read.size("intermediate_size"), gated=True))
    return [Block(mlp) if i >= first else plain_mlp for i in range(layers)]


def gpt_oss(read: Keys, layers: int) -> list[Block]:
    """Experts with biases, a router with one, too."""
    experts, width, hidden = read.required("num_local_experts"), read.size("intermediate_size"), read.size("hidden_size")
    read.skip("experts_per_token")
    mlp = ExpertsMlp(experts=experts, per_token=read.required("num_experts_per_tok"), width=width, gated=True)
    return [Block(mlp, experts + experts * (2 * width + hidden))] * layers


def llama4(read: Keys, layers: int) -> list[Block]:
    """Experts, with a shared one as wide, in every `interleave_moe_layer_step`-th layer; else a plain MLP."""
    width, step = read.size("intermediate_size"), read.size("interleave_moe_layer_step", 1)
    where = read.items("moe_layers")
    mlp = ExpertsMlp(experts=read.required("num_local_experts"), per_token=read.required("num_experts_per_tok"), width=width,
                     gated=True, shared_width=width)
    routed = range(step - 1, layers, step) if where is None else where
    other = Block(DenseMlp(width=read.size("intermediate_size_mlp"), gated=True))
    return [Block(mlp) if i in routed else other for i in range(layers)]


def dbrx(read: Keys, layers: int) -> list[Block]:
    config = read.part("ffn_config")
    mlp = ExpertsMlp(experts=config.required("moe_num_experts"), per_token=config.required("moe_top_k"),
                     width=config.required("ffn_hidden_size"), gated=True)
    return [Block(mlp)] * layers


def jamba(read: Keys, layers: int) -> list[Block]:
    """Experts in one layer of each `expert_layer_period`."""
    width, period, offset = read.size("intermediate_size"), read.size("expert_layer_period"), read.whole("expert_layer_offset")
    experts = read.required("num_experts")
    mlp = ExpertsMlp(experts=experts, per_token=read.required("num_experts_per_tok"), width=width, gated=True)
    other = Block(DenseMlp(width=width, gated=True))
    return [Block(mlp) if experts > 1 and i % period == offset else other for i in range(layers)]


def nemotron_h(read: Keys, layers: int) -> list[Block]:
    """MLPs and experts without a gate, as the pattern has them."""
    blocks = {"mlp": Block(DenseMlp(width=read.size("intermediate_size"), gated=False))}
    if "moe" in (pattern := nemotron_h_pattern(read)):
        shared = read.whole("moe_shared_expert_intermediate_size") * (1 if read.given("n_shared_experts") else 0)
        blocks["moe"] = Block(ExpertsMlp(
            experts=read.required("n_routed_experts"), per_token=read.required("num_experts_per_tok"),
            width=read.required("moe_intermediate_size"), gated=False, shared_width=shared, latent=read.whole("moe_latent_size")))
    read.skip("n_shared_experts", "num_local_experts")
    return [blocks.get(kind, Block(NoMlp())) for kind in pattern]


def ernie(read: Keys, layers: int) -> list[Block]:
    """ERNIE 4.5: experts from `moe_layer_start_index` on, a correction of each expert's score among the parameters."""
    width, shared = read.required("moe_intermediate_size"), read.whole("moe_num_shared_experts")
    experts = read.required("moe_num_experts")
    first, last = read.whole("moe_layer_start_index"), read.whole("moe_layer_end_index") or layers - 1
    step = read.size("moe_layer_interval", 1)
    read.skip("moe_use_aux_free", "moe_layer_end_index", "moe_norm_min")
    mlp = ExpertsMlp(experts=experts, per_token=read.required("moe_k"), width=width, gated=True, shared_width=width * shared)
    other = Block(DenseMlp(width=read.size("intermediate_size"), gated=True))
    return [Block(mlp, experts) if first <= i <= last and (i + 1) % step == 0 else other for i in range(layers)]


def gemma4(read: Keys, layers: int) -> list[Block]:
    """Gemma 4: a dense MLP, experts beside it in the 26B; embeddings of each layer's own in the small ones."""
    width, hidden = read.size("intermediate_size"), read.size("hidden_size")
    own, shared = read.whole("hidden_size_per_layer_input"), read.whole("num_kv_shared_layers")
    read.skip("vocab_size_per_layer_input")
    # a gate and a projection around a layer's own embedding, and a norm; matrices, but 16 bits in every checkpoint
    extra = 2 * hidden * own + hidden if own else 0
    if read.flag("enable_moe_block"):
        experts = read.required("num_experts")
        key = "moe_intermediate_size" if read.given("moe_intermediate_size") else "expert_intermediate_size"
        mlp = ExpertsMlp(experts=experts, per_token=read.required("top_k_experts"), width=read.required(key), gated=True,
                         dense_width=width)
        return [Block(mlp, extra + 4 * hidden + experts)] * layers  # three norms and scales of the router
    read.skip("num_experts", "top_k_experts", "expert_intermediate_size", "moe_intermediate_size")
    wide = 2 * width if read.flag("use_double_wide_mlp") else width
    return [Block(DenseMlp(width=width if i < layers - shared else wide, gated=True), extra) for i in range(layers)]


def gemma4_other(read: Keys) -> int:
    """The table of every layer's own embeddings, its projection from the usual one and a norm."""
    own = read.whole("hidden_size_per_layer_input")
    if not own:
        return 0
    width = own * read.size("num_hidden_layers")
    return read.size("vocab_size_per_layer_input") * width + read.size("hidden_size") * width + own
