"""Groups, pages and capacity of models with several kinds of cache: vLLM's own numbers, and hand arithmetic."""

import pytest

from simulator.design.huggingface.read import architecture_from_config
from simulator.design.load import load_model, resolve
from simulator.design.records.model import Precision
from simulator.inputs.errors import InputError
from simulator.model.caches import Cache, caches
from simulator.pricing.kv_groups import layout
from simulator.pricing.kv_memory import predict
from tests.shared import shared_file

GIB = 2**30


def model(name):
    return load_model(shared_file(f"data/model_configs/{name}/config.json"))


def groups_of(arch, *, tensor=1, prefix_caching=True, budget=8192, longest=None, precision=None):
    held = caches(arch, precision or Precision(), tensor)
    return layout(held, max_model_len=longest or arch.max_positions, tokens_in_flight=budget, prefix_caching=prefix_caching)


@pytest.mark.parametrize(("memory_gib", "tokens"), [(64.68, 626_949), (103.92, 1_007_303)])
def test_gemma_4_on_an_h200_is_as_vllm_reported(memory_gib, tokens):
    """gemma-4-31b-it on one H200 (redhat-performance/configiq, thread 112): 50 window layers of 16 heads of 256, 10 full layers
    of 4 heads of 512, whose pages are half as large: they get blocks of 32 tokens. The report rounds its memory."""
    found = groups_of(model("nvidia--Gemma-4-31B-IT-NVFP4"))
    assert [(g.kind, g.layers, g.block_size) for g in found.groups] == [("window", 10, 16)] * 5 + [("full", 10, 32)]
    assert found.max_concurrency(memory_gib * GIB) * 262144 == pytest.approx(tokens, rel=1e-4)


def test_a_state_raises_the_attention_block():
    """Qwen3-Next with fp32 state: 1,056 tokens, Nemotron-H-8B's rule with fp32 state 1,040: vLLM's own function."""
    found = groups_of(architecture_from_config({
        "model_type": "qwen3_next", "hidden_size": 2048, "intermediate_size": 5120, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 151936, "num_experts": 512,
        "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
        "max_position_embeddings": 262144}, "qwen3-next"))
    assert (found.block_size, found.page_bytes) == (1056, 1056 * 2 * 2 * 256 * 2)
    assert [(g.kind, g.layers) for g in found.groups] == [("state", 12)] * 3 + [("full", 12)]
    assert [g.blocks_per_request for g in found.groups] == [2, 2, 2, -(-262144 // 1056)]


def test_without_prefix_caching_a_state_block_spans_the_context():
    found = groups_of(model("Qwen3-Next-80B-A3B"), prefix_caching=False, longest=32768)
    assert [g.block_size for g in found.groups] == [32768] * 3 + [1056]
    assert found.groups[0].blocks_per_request == 1
    assert found.scheduler_block_size == found.hash_block_size


def test_latents_are_one_group_of_all_layers_on_every_rank():
    found = groups_of(model("deepseek-ai--DeepSeek-R1"), tensor=8)
    assert [(g.kind, g.layers, g.block_size, g.page_bytes) for g in found.groups] == [("latent", 61, 64, 64 * 576 * 2)]


def test_windows_reserve_what_is_in_flight():
    """gpt-oss: a window of 128 and 16,384 tokens in flight take 1,033 blocks (127 + 16,384 over 16, one more)."""
    found = groups_of(model("openai--gpt-oss-20b"), budget=16384)
    assert [(g.kind, g.layers, g.blocks_per_request) for g in found.groups] == [("window", 12, 1033), ("full", 12, 8192)]
    assert found.bytes_per_block == 12 * 16 * 2 * 8 * 64 * 2


def test_buckets_of_nearly_one_size_are_padded():
    """Five windows and four full layers: 5 < 1.5 x 4, so groups of five; sixteen and ten would be cut into groups of ten."""
    one, other = Cache("window", 64.0, 128), Cache("full", 64.0)
    settings = {"max_model_len": 1024, "tokens_in_flight": 512, "prefix_caching": True}
    assert [g.layers for g in layout([one] * 5 + [other] * 4, **settings).groups] == [5, 4]
    assert [g.layers for g in layout([one] * 16 + [other] * 10, **settings).groups] == [8, 8, 10]


def test_one_request_must_fit_beside_the_null_block():
    found = layout([Cache("full", 64.0)] * 2, max_model_len=160, tokens_in_flight=512, prefix_caching=True)
    needed = 10 * found.bytes_per_block
    assert not found.fits_one(needed)
    assert found.fits_one(needed + found.bytes_per_block)


def test_layouts_that_are_not_modelled_are_refused():
    with pytest.raises(InputError, match="not modelled"):
        groups_of(model("deepseek-ai--DeepSeek-V3.2"))


@pytest.mark.parametrize("name", ["openai--gpt-oss-120b", "Qwen3-Next-80B-A3B", "deepseek-ai--DeepSeek-V3.2"])
def test_designs_of_such_models_are_sized(name):
    config = str(shared_file(f"data/model_configs/{name}/config.json"))
    design = resolve({"model": config, "hardware": "h200-sxm", "workload": "chat-200", "parallelism": {"tensor": 8}})
    room = predict(design.model, design.precision, design.hardware, design.parallelism, design.serving)
    assert room.num_gpu_blocks == int(room.kv_bytes // room.kv_block_bytes) > 100
