"""Models of several kinds of layers, written by hand from their published dimensions: sizes by part, and what their operators do."""

import numpy as np
import pytest

from simulator.design.load import resolve
from simulator.design.records.layers import (
    DenseMlp,
    ExpertsMlp,
    Indexer,
    LatentAttention,
    LayerType,
    Run,
    SoftmaxAttention,
    StateAttention,
)
from simulator.design.records.model import Architecture, PartPrecision, Precision
from simulator.devices.roofline import work
from simulator.inputs.errors import InputError
from simulator.model.caches import Cache, caches, kv_bytes_per_token, state_bytes
from simulator.model.checks import split_violations
from simulator.model.layer_types import counted
from simulator.model.layers import operators
from simulator.model.memory import parameters, weight_bytes
from simulator.model.operators import AXES, Collective, Vector
from simulator.model.parts import model_parts

# DeepSeek-V3 technical report, section 4.2; two norms of the stream and two of latents a layer
_MLA = LatentAttention(heads=128, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128)
_VECTORS = 2 * 7168 + 1536 + 512
DEEPSEEK_V3 = Architecture(
    name="deepseek-v3", layers=61, hidden=7168, vocab=129280, max_positions=163840, other_parameters=7168,
    layer_types=(LayerType(name="dense", attention=_MLA, mlp=DenseMlp(width=18432, gated=True), vectors=_VECTORS),
                 LayerType(name="experts", attention=_MLA, vectors=_VECTORS, mlp=ExpertsMlp(
                     experts=256, per_token=8, width=2048, gated=True, shared_width=2048))),
    order=(Run(types=("dense",), repeat=3), Run(types=("experts",), repeat=58)))

# openai/gpt-oss-20b, config.json: biases everywhere, one sink per head
_OSS_VECTORS = (2 * 2880 + 64 + (64 + 16) * 64 + 2880 + 32 + 32 * (2 * 2880 + 2880))
_OSS_MLP = ExpertsMlp(experts=32, per_token=4, width=2880, gated=True)
GPT_OSS = Architecture(
    name="gpt-oss-20b", layers=24, hidden=2880, vocab=201088, max_positions=131072, other_parameters=2880,
    layer_types=tuple(LayerType(name=kind, mlp=_OSS_MLP, vectors=_OSS_VECTORS, attention=SoftmaxAttention(
        kind=kind, heads=64, kv_heads=8, head_dim=64, span=span)) for kind, span in (("window", 128), ("full", None))),
    order=(Run(types=("window", "full"), repeat=12),))


def test_parameters_are_the_published_counts():
    assert parameters(DEEPSEEK_V3) == 671_026_404_352  # Hugging Face, less the draft layer
    assert parameters(GPT_OSS) == 20_914_757_184


def test_parts_add_up_and_experts_are_most_of_it():
    parts = model_parts(DEEPSEEK_V3)
    assert parts.experts == 58 * 256 * 3 * 7168 * 2048
    assert parts.mlp == 3 * 3 * 7168 * 18432
    assert parts.embedding == parts.head == 129280 * 7168


def test_latents_are_576_values_a_layer_on_every_rank():
    for tensor in (1, 8):
        assert kv_bytes_per_token(DEEPSEEK_V3, Precision(), tensor) == {"latent": 61 * 576 * 2}


def test_windows_and_full_layers_are_different_kinds_of_cache():
    one = 2 * 8 * 64 * 2
    assert kv_bytes_per_token(GPT_OSS, Precision(), 1) == {"window": 12 * one, "full": 12 * one}
    assert caches(GPT_OSS, Precision(), 8)[:2] == (Cache("window", one / 8, 128), Cache("full", one / 8))
    assert [(kind.name, count) for kind, count in counted(GPT_OSS).items()] == [("window", 12), ("full", 12)]


def test_an_indexer_keeps_fp8_keys_with_a_scale():
    sparse = _MLA.model_copy(update={"indexer": Indexer(heads=64, head_dim=128, top_k=2048)})
    kinds = tuple(kind.model_copy(update={"attention": sparse}) for kind in DEEPSEEK_V3.layer_types)
    model = DEEPSEEK_V3.model_copy(update={"layer_types": kinds})
    assert kv_bytes_per_token(model, Precision(), 1) == {"latent": 61 * 1152, "index": 61 * 132}
    # query projection, weights of the heads, key projection; its norm is among the vectors
    assert parameters(model) - parameters(DEEPSEEK_V3) == 61 * (1536 * 64 * 128 + 7168 * 64 + 7168 * 128)


def test_states_are_as_vllm_sizes_them():
    # recorded for Qwen3-Next with fp32 state: 1,056 tokens of 2 KB cover it, 1,040 do not; and for Nemotron-H-8B
    qwen = StateAttention(kind="gated_delta_net", heads=32, head_dim=128, state=128, groups=16, kernel=4)
    assert state_bytes(qwen, 1) == 8192 * 3 * 2 + 32 * 128 * 128 * 4 == 2_146_304
    assert 1040 * 2048 < state_bytes(qwen, 1) <= 1056 * 2048
    nemotron = StateAttention(kind="mamba2", heads=128, head_dim=64, state=128, groups=8, kernel=4)
    assert state_bytes(nemotron, 1) == (8192 + 2 * 8 * 128) * 3 * 2 + 128 * 64 * 128 * 4
    assert state_bytes(nemotron, 4, 2) == 10240 // 4 * 5 * 2 + 32 * 64 * 128 * 4


def test_each_part_is_stored_in_its_own_format():
    plain = weight_bytes(DEEPSEEK_V3, Precision(), 1, 1)[0]
    assert plain == pytest.approx(2 * parameters(DEEPSEEK_V3), rel=1e-9)
    routed = Precision(experts=PartPrecision(weights="nvfp4", activations="nvfp4"))
    assert plain - weight_bytes(DEEPSEEK_V3, routed, 1, 1)[0] == model_parts(DEEPSEEK_V3).experts * (16 - 4.5) / 8
    kept = Precision(mlp=PartPrecision(weights="nvfp4", activations="nvfp4", kept_layers=(0, 1)))
    assert plain - weight_bytes(DEEPSEEK_V3, kept, 1, 1)[0] == 3 * 7168 * 18432 * (16 - 4.5) / 8


def test_ranks_share_experts_and_heads_and_repeat_the_rest():
    eighth, parts = weight_bytes(DEEPSEEK_V3, Precision(), 8, 1)[0], model_parts(DEEPSEEK_V3)
    repeated = 61 * (7168 * 1536 + 7168 * 576) + parts.other  # down-projections, norms, routers
    assert eighth == pytest.approx(2 * (repeated + (parts.text - repeated) / 8), rel=1e-9)


def flops_per_token(found, context):
    """Multiply-adds x 2 of one decoded token on one rank, attention over `context` tokens included."""
    total = 0.0
    for named in found:
        axes = [np.array([1.0])] if len(AXES[type(named.operator)]) == 1 else [np.array([1.0]), np.array([float(context)])]
        if isinstance(named.operator, Collective | Vector) or AXES[type(named.operator)][0] == "chunk":
            continue
        total += named.repeats * work(named.operator, *axes).flops[0]
    return total


def test_a_token_of_deepseek_multiplies_its_active_parameters_and_latents():
    """DeepSeek-V3 report: 37 billion active parameters; absorbed attention: 61 layers x 128 heads x (576 + 512) multiply-adds a
    token of context."""
    found = operators(DEEPSEEK_V3, Precision(), 1)
    assert flops_per_token(found, 0) == pytest.approx(2 * 37e9, rel=0.02)
    assert flops_per_token(found, 1000) - flops_per_token(found, 0) == pytest.approx(61 * 128 * 2 * (576 + 512) * 1000)


def test_half_of_gpt_oss_layers_see_a_window_of_128_tokens():
    """Attention of 24 layers, 64 heads of 64: 12 of them over all 1,000 tokens, 12 over 128."""
    found = operators(GPT_OSS, Precision(), 1)
    at = [flops_per_token(found, context) for context in (0, 1000)]
    assert at[1] - at[0] == pytest.approx(64 * 4 * 64 * 12 * (1000 + 128))


def test_layers_in_16_bits_are_priced_as_such():
    kept = Precision(mlp=PartPrecision(weights="nvfp4", activations="nvfp4", kept_layers=(0,)))
    gate_up = [named for named in operators(DEEPSEEK_V3, kept, 1) if named.name.startswith("gate_up")]
    assert sorted((named.repeats, named.operator.matrix_bits) for named in gate_up) == [(1, 16), (2, 4)]


def test_cuts_that_do_not_divide_are_named():
    assert split_violations(GPT_OSS, 8, 1) == []
    assert split_violations(GPT_OSS, 7, 1) == ["64 attention heads do not divide over tensor parallel 7",
                                               "8 KV heads neither divide over nor replicate to tensor parallel 7",
                                               "expert width 2880 does not divide over tensor parallel 7"]


def test_layered_models_are_written_and_read_back():
    plain = {"model": DEEPSEEK_V3.to_plain(), "hardware": "h200-sxm", "workload": "chat-200"}
    assert resolve(plain).model == DEEPSEEK_V3


@pytest.mark.parametrize(("change", "says"), [
    ({"order": [{"types": ["dense"], "repeat": 60}]}, "order lists 60 layers, layers says 61"),
    ({"order": [{"types": ["other"], "repeat": 61}]}, "order names 'other'"),
    ({"heads": 4}, "heads is said by layer_types"),
    ({"order": None}, "given together"),
])
def test_layers_that_do_not_fit_together_are_refused(change, says):
    plain = {**DEEPSEEK_V3.to_plain(), **change}
    with pytest.raises(InputError, match=says):
        resolve({"model": plain, "hardware": "h200-sxm", "workload": "chat-200"})
