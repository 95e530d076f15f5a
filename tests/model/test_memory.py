"""Parameter counts against published totals; bytes against arithmetic on the published dimensions."""


import pytest

from simulator.design.load import CONFIGS, load_model
from simulator.design.records.model import Precision
from simulator.model.memory import activation_bytes, kv_bytes_per_token, parameters, weight_bytes

# Totals that the Hugging Face model pages give (safetensors metadata), or that transformers 5.19 counts on the meta device, of the
# language model alone; GPT-3: Brown et al. 2020, table 2.1, in billions.
PUBLISHED = {
    "llama-3.1-8b": 8_030_261_248, "llama-3.1-70b": 70_553_706_496, "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320, "qwen3-8b": 8_190_735_360, "qwen3-32b": 32_762_123_264,
    "mistral-7b": 7_248_023_552, "qwen3-30b-a3b": 30_532_122_624, "mixtral-8x7b": 46_702_792_704,
    "llama-3.2-1b": 1_235_814_400, "llama-3.3-70b": 70_553_706_496, "llama-3.1-405b": 405_853_388_800,
    "llama-4-scout": 107_769_861_120, "llama-4-maverick": 400_711_848_960, "qwen3-0.6b": 596_049_920,
    "qwen3-235b-a22b": 235_093_634_560, "qwen3-coder-480b-a35b": 480_154_875_392, "qwen3-next-80b-a3b": 79_674_391_296,
    "qwen3-vl-8b": 8_190_735_360, "qwen3.5-397b-a17b": 396_346_350_336, "deepseek-r1": 671_026_404_352,
    "deepseek-v3.2": 671_877_929_216, "deepseek-v4-flash": 284_332_230_231, "deepseek-v4-pro": 1_572_997_179_491,
    "kimi-k2": 1_026_408_209_408, "kimi-k2.5": 1_026_408_209_408, "glm-5": 743_911_199_232, "glm-5.3-fp8": 743_377_000_704,
    "gpt-oss-20b": 20_914_757_184, "gpt-oss-120b": 116_829_156_672, "minimax-m2.5": 228_689_748_992,
    "minimax-m3": 426_174_565_632, "gemma-3-27b": 27_009_346_304, "gemma-4-31b": 30_697_345_280,
    "nemotron-3-nano-30b-a3b": 31_577_937_344, "nemotron-3-super-120b-a12b": 120_668_687_360,
    "nemotron-3-ultra-550b-a55b": 549_308_968_960, "mistral-small-24b": 23_572_403_200, "phi-4": 14_659_507_200,
    "mimo-v2-flash": 308_778_768_832,
}
ROUNDED = {"opt-6.7b": 6.7e9, "opt-30b": 30e9, "gpt3-7b": 6.7e9, "gpt3-13b": 13e9, "gpt3-30b": 30e9, "gpt3-175b": 175e9,
           "step-3.7-flash": 196e9}  # the last: its vendor's name for the model
UNPUBLISHED = {"kimi-k3"}  # no count of its language model to check against


def model(name):
    return load_model(CONFIGS / "models" / f"{name}.yaml")


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_number(name):
    assert parameters(model(name)) == PUBLISHED[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_parameters_round_to_the_published_size(name):
    assert parameters(model(name)) == pytest.approx(ROUNDED[name], rel=0.012)


def test_every_shipped_model_is_checked():
    assert {p.stem for p in (CONFIGS / "models").glob("*.yaml")} == {*PUBLISHED, *ROUNDED, *UNPUBLISHED}


@pytest.mark.parametrize("name", ["llama-3.1-70b", "qwen3-8b"])
def test_shards_hold_the_whole_model_once(name):
    arch = model(name)
    stages = weight_bytes(arch, Precision(), tensor=4, pipeline=2)
    norms = (2 * arch.layers + 1) * arch.hidden + (2 * arch.layers * arch.head_dim if arch.qk_norm else 0)
    copies = 3 * norms  # norms are on every rank, all else is cut
    assert 4 * sum(stages) == pytest.approx(2 * (parameters(arch) + copies), rel=1e-12)


def test_more_ranks_than_kv_heads_replicate_kv():
    arch = model("llama-3.1-8b")
    assert kv_bytes_per_token(arch, Precision(), tensor=1) == 32 * 2 * 8 * 128 * 2  # 128 KiB, as Llama 3's cards say
    assert kv_bytes_per_token(arch, Precision(), tensor=8) == kv_bytes_per_token(arch, Precision(), tensor=16)


def test_tied_embeddings_are_one_copy_until_stages_part_them():
    arch = model("opt-6.7b")
    whole, (first, last) = weight_bytes(arch, Precision(), 1, 1)[0], weight_bytes(arch, Precision(), 1, 2)
    assert first + last - whole == 50304 * 4096 * 2  # the second copy, vocabulary padded to a multiple of 64


def test_four_bit_weights_shrink_only_the_linear_layers():
    arch = model("llama-2-7b")
    half = weight_bytes(arch, Precision(), 1, 1)[0]
    quarter = weight_bytes(arch, Precision(weights="int4"), 1, 1)[0]
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert half - quarter == linear * 1.5


def test_fp8_cache_halves_kv():
    arch = model("qwen3-8b")
    assert kv_bytes_per_token(arch, Precision(kv="fp8"), 2) * 2 == kv_bytes_per_token(arch, Precision(), 2)


def test_logits_of_many_sequences_dominate_small_steps():
    arch = model("llama-3.1-8b")
    assert activation_bytes(arch, 1, tokens=256, sequences=256) >= 256 * 128256 * 4
    assert activation_bytes(arch, 1, 8192, 1) > activation_bytes(arch, 1, 4096, 1)


def test_workspaces_of_experts_are_vllms():
    """vllm fused_moe.py, TritonExperts.workspace_shapes for Qwen3-30B-A3B (M tokens, topk 8, N = 2 x 768, K 2048): workspaces
    (M, 8, max(768, K)) and (M, 8, max(N, K)), output (M, K); beside residual and hidden states, in 16 bits."""
    arch, tokens = model("qwen3-30b-a3b"), 2048
    one = tokens * (8 * 2048 + 8 * 2048 + 2048 + 2 * 2048) * 2
    assert activation_bytes(arch, 1, tokens, 8) == one
    # two engines that share the experts gather twice the rows on each rank, hidden states included
    two = tokens * (2 * (8 * 2048 + 8 * 2048 + 2048 + 2048) + 2 * 2048) * 2
    assert activation_bytes(arch, 1, tokens, 8, data=2, expert_parallel=True) == two


def test_engines_that_share_experts_hold_attention_whole_and_experts_in_part():
    arch = model("qwen3-30b-a3b")
    whole, half = (weight_bytes(arch, Precision(), 1, 1, data)[0] for data in (1, 2))
    assert whole - half == 48 * 64 * 3 * 2048 * 768 * 2  # half of 128 experts of three matrices in 48 blocks
