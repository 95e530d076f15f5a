"""The operator list does the model's arithmetic: FLOPs and weights are the parameter count's, cut by the ranks."""

import pytest

from simulator.design.load import CONFIGS
from simulator.design.records.model import Architecture, Precision
from simulator.inputs.yaml_file import load_yaml
from simulator.model.checks import split_violations
from simulator.model.layers import operators
from simulator.model.memory import parameters
from simulator.model.operators import Collective, DecodeAttention, Gemm, PrefillAttention
from simulator.model.sharding import stage_layers


def model(name):
    return Architecture(**load_yaml(CONFIGS / "models" / f"{name}.yaml"))


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-2-13b", "opt-30b", "qwen3-32b"])
def test_gemms_multiply_every_matrix_of_the_model_once(name):
    arch = model(name)
    gemms = sum(op.repeats * op.operator.n * op.operator.k for op in operators(arch, Precision(), 1)
                if isinstance(op.operator, Gemm) and op.name != "lm_head")
    embeddings = (1 if arch.tied_embeddings else 2) * arch.vocab * arch.hidden
    others = parameters(arch) - embeddings - gemms  # norms, biases, positions
    assert 0 < others < 0.002 * parameters(arch)


@pytest.mark.parametrize("tensor", [2, 4, 8])
def test_ranks_share_the_work(tensor):
    def flops(ranks):
        ops = operators(model("llama-3.1-70b"), Precision(), ranks)
        return sum(op.repeats * op.operator.n * op.operator.k for op in ops if isinstance(op.operator, Gemm))

    assert flops(tensor) * tensor == pytest.approx(flops(1), rel=1e-3)  # the vocabulary is padded


def test_kv_heads_replicate_beyond_their_number():
    at16 = {op.name: op.operator for op in operators(model("llama-3.1-8b"), Precision(), 16)}
    assert at16["decode_attention"] == DecodeAttention(2, 1, 128, 16, 16)
    assert at16["prefill_attention"] == PrefillAttention(2, 1, 128, 16, 16)
    assert at16["qkv"].n == (2 + 2) * 128


def test_all_reduces_follow_attention_and_mlp_and_the_embedding():
    ops = [op for op in operators(model("llama-2-7b"), Precision(), 4) if isinstance(op.operator, Collective)]
    found = {op.name: (op.operator.kind, op.operator.bytes_per_row, op.repeats) for op in ops}
    assert found == {"embedding_all_reduce": ("all_reduce", 8192, 1), "attention_all_reduce": ("all_reduce", 8192, 32),
                     "mlp_all_reduce": ("all_reduce", 8192, 32), "logits_all_gather": ("all_gather", 32000 * 2, 1)}


def test_one_rank_sends_nothing():
    assert not [op for op in operators(model("llama-2-7b"), Precision(), 1) if isinstance(op.operator, Collective)]


def test_stages_send_hidden_states_and_residual_between_them():
    found = {op.name: op for op in operators(model("llama-2-7b"), Precision(), 2, pipeline=4)}
    assert found["stage_send"].repeats == 3
    assert found["stage_send"].operator == Collective("p2p", 2, 2 * 4096 * 2 / 2)
    assert found["stage_gather"].operator == Collective("all_gather", 2, 2 * 4096 * 2)


def test_quantised_weights_leave_the_head_in_16_bits():
    found = {op.name: op.operator for op in operators(model("llama-2-7b"), Precision(weights="int4"), 1)}
    assert (found["qkv"].weight_bits, found["lm_head"].weight_bits) == (4, 16)


@pytest.mark.parametrize(("layers", "pipeline", "stages"), [
    (32, 1, (32,)), (32, 2, (16, 16)), (80, 3, (27, 27, 26)), (32, 5, (6, 6, 7, 7, 6)), (22, 4, (5, 6, 6, 5)),
    (61, 8, (7, 7, 8, 8, 8, 8, 8, 7))])
def test_left_over_layers_go_where_vllm_puts_them(layers, pipeline, stages):
    # vLLM's own examples and rule: not the last stage, from the back (tests/distributed/test_pipeline_partition.py)
    assert stage_layers(layers, pipeline) == stages


def test_impossible_cuts_are_named():
    arch = model("qwen3-32b")
    assert split_violations(arch, 8, 4) == []
    assert len(split_violations(arch, 3, 1)) == 3
    assert "64 layers cannot fill 65 pipeline stages" in split_violations(arch, 1, 65)[0]
