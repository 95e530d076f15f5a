"""config.json files as the hub has them (the keys that matter) become the right dimensions; others are refused by key."""

import json
import random

import pytest

from simulator.design.huggingface.read import architecture_from_config, looks_like_config, runs
from simulator.design.records.layers import Run
from simulator.design.records.model import Precision
from simulator.inputs.errors import InputError
from simulator.model.caches import kv_bytes_per_token
from simulator.model.layer_types import counted
from simulator.model.memory import parameters
from tests.shared import shared_file

LLAMA = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
         "num_key_value_heads": 8, "num_hidden_layers": 32, "vocab_size": 128256, "max_position_embeddings": 131072,
         "tie_word_embeddings": False}
QWEN2_05B = {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14,
             "num_key_value_heads": 2, "num_hidden_layers": 24, "vocab_size": 151936, "max_position_embeddings": 32768,
             "tie_word_embeddings": True, "sliding_window": 32768, "use_sliding_window": False}
QWEN3_06B = {"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16,
             "num_key_value_heads": 8, "num_hidden_layers": 28, "vocab_size": 151936, "max_position_embeddings": 40960,
             "tie_word_embeddings": True, "head_dim": 128, "attention_bias": False, "sliding_window": None}
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257}
OPT_350M = {"model_type": "opt", "hidden_size": 1024, "ffn_dim": 4096, "num_attention_heads": 16,
            "num_hidden_layers": 24, "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": 512}
PYTHIA = {"model_type": "gpt_neox", "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 16,
          "num_hidden_layers": 16, "vocab_size": 50304, "max_position_embeddings": 2048, "tie_word_embeddings": False}
MISTRAL_V01 = {**LLAMA, "model_type": "mistral", "vocab_size": 32000, "max_position_embeddings": 32768,
               "sliding_window": 4096}


@pytest.mark.parametrize(("config", "published"), [
    (LLAMA, 8_030_261_248), (QWEN2_05B, 494_032_768), (QWEN3_06B, 596_049_920), (GPT2, 124_439_808),
    (PYTHIA, 1_011_781_632)])
def test_parameters_are_those_of_the_hub(config, published):
    assert parameters(architecture_from_config(config, "model")) == published


def test_projected_embeddings_are_kept_apart_from_the_width():
    arch = architecture_from_config(OPT_350M, "opt-350m")
    assert (arch.embedding_dim, arch.hidden, arch.tied_embeddings) == (512, 1024, True)
    assert parameters(arch) == pytest.approx(331_196_416, rel=1e-3)  # the hub's count; OPT has two more position rows


def test_configs_are_told_from_our_own_records():
    assert looks_like_config(LLAMA)
    assert not looks_like_config({"name": "x", "layers": 3})


@pytest.mark.parametrize(("change", "key"), [
    ({"model_type": None}, "model_type"),
    ({"model_type": "rwkv"}, "model_type"),
    ({"model_type": 7}, "model_type"),
    ({"num_local_experts": 8}, "num_local_experts"),
    ({"kv_lora_rank": 512}, "kv_lora_rank"),
    ({"is_encoder_decoder": True}, "is_encoder_decoder"),
    ({"hidden_size": None}, "hidden_size"),
    ({"num_hidden_layers": 3.5}, "num_hidden_layers"),
    ({"vocab_size": "big"}, "vocab_size"),
    ({"num_attention_heads": True}, "num_attention_heads"),
    ({"intermediate_size": -1}, "intermediate_size"),
    ({"hidden_size": 4097}, "head_dim"),
    ({"sliding_window": 4096}, "sliding_window"),
    ({"layer_types": ["sliding_attention"] * 32}, "layer_types"),
    ({"layer_types": ["full_attention"] * 31}, "layer_types"),
    ({"architectures": ["LlamaForSequenceClassification"]}, "architectures"),
    ({"linear_num_value_heads": 32}, "linear_num_value_heads"),
    ({"full_attention_interval": 4}, "full_attention_interval"),
    ({"attention_chunk_size": 8192}, "attention_chunk_size"),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling.original_max_position_embeddings"),
    ({"quantization_config": {"quant_method": "aqlm"}}, "quantization_config.quant_method"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
])
def test_what_cannot_be_priced_is_refused_by_key(change, key):
    with pytest.raises(InputError) as error:
        architecture_from_config({**LLAMA, **change}, "model")
    assert error.value.key == key


def test_heads_that_do_not_group_are_refused():
    with pytest.raises(InputError, match="multiple of kv_heads"):
        architecture_from_config({**LLAMA, "num_key_value_heads": 5}, "model")


def test_short_sliding_windows_are_windows_and_long_ones_full_attention():
    arch = architecture_from_config(MISTRAL_V01, "mistral")
    assert kv_bytes_per_token(arch, Precision(), 1) == {"window": 131072}
    assert arch.layer_types[0].attention.span == 4096
    whole = architecture_from_config({**MISTRAL_V01, "sliding_window": None, "max_position_embeddings": 4096}, "mistral")
    assert (whole.layer_types, whole.kv_heads) == (None, 8)
    assert architecture_from_config({**MISTRAL_V01, "max_position_embeddings": 4096}, "mistral") == whole


QWEN3_30B = {"model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
             "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
             "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 151936,
             "max_position_embeddings": 40960, "sliding_window": None, "use_sliding_window": False}
MIXTRAL = {"model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2,
           "vocab_size": 32000, "max_position_embeddings": 32768, "sliding_window": None}
DEEPSEEK_MOE = {"model_type": "deepseek", "hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16,
                "num_key_value_heads": 16, "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64,
                "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1, "moe_layer_freq": 1,
                "vocab_size": 102400, "max_position_embeddings": 4096}


@pytest.mark.parametrize(("config", "published"), [(QWEN3_30B, 30_532_122_624), (MIXTRAL, 46_702_792_704),
                                                   (DEEPSEEK_MOE, 16_375_728_128)])
def test_experts_are_counted_as_on_the_hub(config, published):
    assert parameters(architecture_from_config(config, "model")) == published


def test_experts_in_some_layers_are_two_layer_types():
    arch = architecture_from_config({**QWEN3_30B, "decoder_sparse_step": 2}, "model")
    assert {kind.name: count for kind, count in counted(arch).items()} == {"full-dense": 24, "full-experts": 24}
    with pytest.raises(InputError) as error:
        architecture_from_config({**DEEPSEEK_MOE, "kv_lora_rank": 512}, "model")
    assert error.value.key == "kv_lora_rank"


def config_of(model):
    return json.loads(shared_file(f"data/model_configs/{model}/config.json").read_text())


def case(name):
    return json.loads(shared_file(f"cases/models/{name}.json").read_text())


def test_no_type_is_suggested_for_another():
    with pytest.raises(InputError) as error:
        architecture_from_config({**LLAMA, "model_type": "lamma"}, "model")
    assert "did you mean" not in str(error.value)


def test_missing_keys_take_the_class_default_and_say_so():
    arch = architecture_from_config(case("Mistral-7B_no_kv_key"), "model")
    assert arch.kv_heads == 8
    assert "MistralConfig: num_key_value_heads 8" in arch.source
    assert architecture_from_config(case("mistral_no_sliding_key"), "model").layer_types[0].attention.span == 4096


def test_experts_have_no_default():
    with pytest.raises(InputError) as error:
        architecture_from_config(case("qwen3_vl_8b_text_with_suggested_type"), "model")
    assert error.value.key == "num_experts"


def test_a_file_that_contradicts_itself_is_refused():
    with pytest.raises(InputError, match="use_sliding_window is false") as error:
        architecture_from_config(case("qwen3_layer_types"), "model")
    assert error.value.key == "layer_types"


def test_hybrids_keep_keys_in_their_few_full_layers():
    arch = architecture_from_config(case("Qwen3-Next-80B-A3B"), "model")
    assert kv_bytes_per_token(arch, Precision(), 1) == {"full": 24576}  # 12 layers x 2 x 2 heads x 256 x 2 B
    assert [kind.name for kind in arch.layer_types] == ["gated_delta_net-experts", "full-experts"]


@pytest.mark.parametrize(("model", "longest"), [
    ("Qwen2.5-7B-Instruct-yarn", 4 * 32768), ("deepseek-ai--DeepSeek-R1", 40 * 4096), ("openai--gpt-oss-20b", 32 * 4096),
    ("meta-llama--Meta-Llama-3.1-8B", 131072), ("moonshotai--Kimi-K2.5", 64 * 4096), ("deepseek-ai--DeepSeek-V4-Flash", 2**20),
    ("mamba-2.8b-hf", 2048)])
def test_the_longest_context_is_vllms(model, longest):
    assert architecture_from_config(config_of(model), model).max_positions == longest


@pytest.mark.parametrize(("model", "tower"), [  # transformers 5.19 on the meta device: what is not the language model
    ("Qwen--Qwen3-VL-2B-Instruct", 406_957_056), ("Qwen--Qwen3-VL-8B-Instruct", 576_388_336), ("moonshotai--Kimi-K2.5", 471_143_920),
    ("nvidia--Qwen3.5-397B-A17B-NVFP4", 456_010_480), ("nvidia--Gemma-4-31B-IT-NVFP4", 575_741_232),
    ("Mistral-Small-3.1-24B-2503", None)])
def test_vision_towers_are_counted_where_their_dimensions_are_given(model, tower):
    assert architecture_from_config(config_of(model), model).vision_parameters == tower


@pytest.mark.parametrize("seed", range(4))
def test_broken_files_end_in_one_line(seed):
    """Keys dropped and values replaced at random in the shared files: a model with parameters, or one InputError of one line."""
    rng = random.Random(seed)
    names = sorted(path.parent.name for path in shared_file("data/model_configs").glob("*/config.json"))
    for name in rng.sample(names, 25):
        config = config_of(name)
        inner = [part for part in config.values() if isinstance(part, dict) and part]
        part = rng.choice([config, config, *inner])
        key = rng.choice(list(part))
        if rng.random() < 0.3:
            del part[key]
        else:
            part[key] = rng.choice([None, 0, -1, 2.5, "x", "", True, [], {}, [1], {"a": 1}, 10**30, float("inf")])
        try:
            assert parameters(architecture_from_config(config, name)) > 0
        except InputError as error:
            assert "\n" not in str(error)


def test_an_unknown_wrapper_is_refused():
    with pytest.raises(InputError, match="how it feeds its text model is not known"):
        architecture_from_config({"model_type": "new_vl", "text_config": LLAMA}, "model")


def test_errors_inside_a_wrapper_name_the_whole_key():
    with pytest.raises(InputError) as error:
        architecture_from_config({"model_type": "llava", "text_config": {**LLAMA, "vocab_size": "big"}}, "model")
    assert error.value.key == "text_config.vocab_size"


def test_layers_are_written_as_repeated_sequences():
    assert runs(list("aaabab")) == (Run(types=("a",), repeat=3), Run(types=("b",)), Run(types=("a",)), Run(types=("b",)))
    assert runs(list("sfsfsf")) == (Run(types=("s", "f"), repeat=3),)
