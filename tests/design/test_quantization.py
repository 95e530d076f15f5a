"""Formats per part, from files as checkpoints ship them; sizes against what the hub shows of their weights."""

import json

import pytest

from simulator.design.huggingface.read import architecture_from_config
from simulator.design.load import expand, load_model, resolve
from simulator.design.records.model import PartPrecision, Precision
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from simulator.model import precision
from simulator.model.layers import operators
from simulator.model.memory import parameters, weight_bytes
from sweeper.space.design_cache import DesignCache
from tests.shared import shared_file

LLAMA = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
         "num_key_value_heads": 8, "num_hidden_layers": 32, "vocab_size": 128256, "max_position_embeddings": 131072,
         "tie_word_embeddings": False}
LINEAR = 32 * (4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336)  # parameters of its layers' matrices
SIXTEEN = PartPrecision(weights="bf16")


def checkpoint(said):
    return architecture_from_config({**LLAMA, "quantization_config": said}, "model").checkpoint


def model(name):
    return load_model(shared_file(f"data/model_configs/{name}/config.json"))


@pytest.mark.parametrize(("said", "weights", "activations", "bits"), [
    ({"quant_method": "fp8", "activation_scheme": "static"}, "fp8", "fp8", 8),
    ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8_block", "fp8", 8 + 32 / 16384),
    ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, "int4", "bf16", 4 + 20 / 128),
    ({"quant_method": "gptq", "bits": 4, "group_size": -1, "desc_act": True}, "int4", "bf16", 4),
    ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "int8", "bf16", 8 + 24 / 128),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4", "bf16", 4.5),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, "nf4", "bf16", 4.126953125),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8", "int8", 8),
    ({"quant_algo": "NVFP4", "group_size": 16}, "nvfp4", "nvfp4", 4.5),
    ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 32, "symmetric": True},
        "input_activations": None}}}, "int4", "bf16", 4.5),
    ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 8, "type": "int", "strategy": "channel"},
        "input_activations": {"num_bits": 8, "type": "int"}}}}, "int8", "int8", 8),
])
def test_a_method_gives_formats_and_stored_bits(said, weights, activations, bits):
    arch = architecture_from_config({**LLAMA, "quantization_config": said}, "model")
    found = arch.checkpoint
    assert (found.weights, found.activations, found.kv) == (weights, activations, "bf16")
    saved = weight_bytes(arch, Precision(), 1, 1)[0] - weight_bytes(arch, found, 1, 1)[0]
    assert saved == pytest.approx(LINEAR * (16 - bits) / 8)


@pytest.mark.parametrize("said", [
    {"quant_method": "aqlm"}, {"quant_algo": "NVFP5"}, {"quant_method": "gptq", "bits": 3, "group_size": 128},
    {"quant_method": "bitsandbytes"}, {"quant_method": "compressed-tensors"}, {"quant_method": "fp8", "kv_cache_scheme": "log"},
    {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 6, "type": "float"}}}}])
def test_what_is_not_understood_is_refused_by_key(said):
    with pytest.raises(InputError) as error:
        checkpoint(said)
    assert error.value.key.startswith("quantization_config")


@pytest.mark.parametrize(("ignored", "kept"), [
    (["model.layers.3.self_attn*"], (3,)), (["re:.*layers\\.(0|1)\\.self_attn.*"], (0, 1)), (["model.layers.7*"], (7,)),
    (["model.layers.5.self_attn.q_proj"], (5,)), (["model.layers.5.input_layernorm", "lm_head", "gate"], ())])
def test_ignored_modules_keep_single_layers_in_16_bits(ignored, kept):
    found = checkpoint({"quant_algo": "NVFP4", "ignore": ignored})
    assert (found.attention.kept_layers if found.attention else ()) == kept
    assert found.of("mlp").kept_layers == ((7,) if "model.layers.7*" in ignored else ())


@pytest.mark.parametrize(("name", "gigabytes"), [  # sum of safetensors on the hub, less draft layers and vision towers
    ("openai--gpt-oss-20b", 13.8), ("openai--gpt-oss-120b", 65.2), ("moonshotai--Kimi-K2.5", 595)])
def test_checkpoints_are_as_large_as_on_the_hub(name, gigabytes):
    arch = model(name)
    size = weight_bytes(arch.model_copy(update={"vision_parameters": None}), arch.checkpoint, 1, 1)[0]
    assert size == pytest.approx(gigabytes * 1e9, rel=0.01)


def test_parts_that_files_keep_in_16_bits():
    kimi = model("moonshotai--Kimi-K2.5").checkpoint  # experts alone in int4
    assert kimi.of("experts").weights == "int4"
    assert {kimi.of(part) for part in ("attention", "attention_output", "mlp", "shared_experts", "head")} == {SIXTEEN}
    deepseek = model("nvidia--DeepSeek-V3.2-NVFP4").checkpoint  # attention but for its output projection; from hf_quant_config.json
    assert (deepseek.of("attention"), deepseek.of("attention_output").weights, deepseek.kv) == (SIXTEEN, "nvfp4", "fp8")
    nano = model("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4").checkpoint  # attention layers and the mixers before them
    assert nano.attention.kept_layers == (4, 5, 11, 12, 18, 19, 25, 26, 32, 33, 41, 42)
    mixed = model("nvidia--NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4").checkpoint
    assert (mixed.of("attention").weights, mixed.of("experts").weights, mixed.of("experts").activations) == ("fp8", "nvfp4", "bf16")
    assert mixed.of("head").weights == "nvfp4"
    v4 = model("deepseek-ai--DeepSeek-V4-Flash").checkpoint
    assert (v4.of("experts").weights, v4.weights) == ("mxfp4", "fp8_block")


def design(precision, said=None, hardware="h100-sxm"):
    config = {**LLAMA, "quantization_config": said or {"quant_method": "fp8", "kv_cache_scheme": "static"}}
    return resolve({"model": config, "hardware": hardware, "workload": "chat-200", "precision": precision})


def test_the_checkpoint_is_the_default_and_the_design_overrides_it():
    found = design({}).precision
    assert (found.weights, found.activations, found.kv) == ("fp8", "fp8", "fp8")
    assert design({"kv": "bf16"}).precision == found.model_copy(update={"kv": "bf16"})
    wide = design({"weights": "bf16", "activations": "bf16"}).precision
    assert (wide.weights, wide.kv, wide.attention) == ("bf16", "fp8", None)
    again = resolve(design({}).to_plain())
    assert again == design({})


def test_a_swept_precision_overrides_as_a_written_one(tmp_path):
    plain = {"model": {**LLAMA, "quantization_config": {"quant_method": "fp8"}}, "hardware": "h100-sxm", "workload": "chat-200"}
    cache = DesignCache(expand(plain), str(tmp_path / "space.yaml"))
    default, first = cache.build({})
    other, second = cache.build({"precision.weights": "bf16", "precision.activations": "bf16"})
    assert (default.precision.weights, other.precision.weights) == ("fp8", "bf16")
    assert first != second
    assert (first, second) == (design_key(default), design_key(other))


def activations_of(design):
    used = precision.on(design.precision, design.hardware)
    ops = {op.name: op.operator for op in operators(design.model, used, 1)}
    return ops["qkv"].weight_bits, ops["qkv"].activation_bits, ops["decode_attention"].activation_bits


def test_a_gpu_without_fp8_units_runs_weight_only():
    assert activations_of(design({}, hardware="h100-sxm")) == (8, 8, 8)
    assert activations_of(design({}, hardware="a100-80gb")) == (8, 16, 16)  # vLLM's Marlin on Ampere
    integers = {"weights": "int8", "activations": "int8"}
    assert activations_of(design(integers, hardware="a100-80gb")) == (8, 8, 8)


def test_fp4_activations_are_weight_only_where_there_is_no_unit():
    fp4 = {"quant_algo": "NVFP4"}
    assert activations_of(design({}, fp4, "h100-sxm")) == (4, 16, 16)
    assert activations_of(design({}, fp4, "b200")) == (4, 4, 16)
    assert activations_of(design({"weights": "nvfp4", "activations": "bf16"}, fp4, "b200")) == (4, 16, 16)


def test_hf_quant_config_is_read_from_beside_the_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert load_model(tmp_path / "config.json").checkpoint is None
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {
        "quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}))
    found = load_model(tmp_path / "config.json")
    assert (found.checkpoint.weights, found.checkpoint.kv, parameters(found)) == ("fp8", "fp8", 8_030_261_248)
