"""config.json files as the hub has them (the keys that matter) become the right dimensions; others are refused by key."""

import pytest

from simulator.design.huggingface.read import architecture_from_config, looks_like_config
from simulator.inputs.errors import InputError
from simulator.model.memory import parameters

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
    ({"model_type": "mamba"}, "model_type"),
    ({"num_local_experts": 8}, "num_local_experts"),
    ({"kv_lora_rank": 512}, "kv_lora_rank"),
    ({"is_encoder_decoder": True}, "is_encoder_decoder"),
    ({"hidden_size": None}, "hidden_size"),
    ({"num_hidden_layers": 3.5}, "num_hidden_layers"),
    ({"vocab_size": "big"}, "vocab_size"),
    ({"num_attention_heads": True}, "num_attention_heads"),
    ({"intermediate_size": -1}, "intermediate_size"),
    ({"hidden_size": 4097}, "head_dim"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
])
def test_what_cannot_be_priced_is_refused_by_key(change, key):
    with pytest.raises(InputError) as error:
        architecture_from_config({**LLAMA, **change}, "model")
    assert error.value.key == key


def test_heads_that_do_not_group_are_refused():
    with pytest.raises(InputError, match="multiple of kv_heads"):
        architecture_from_config({**LLAMA, "num_key_value_heads": 5}, "model")


def test_short_sliding_windows_are_refused_with_the_way_out():
    with pytest.raises(InputError, match="set sliding_window to null") as error:
        architecture_from_config(MISTRAL_V01, "mistral")
    assert error.value.key == "sliding_window"
    architecture_from_config({**MISTRAL_V01, "sliding_window": None, "max_position_embeddings": 4096}, "mistral")


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


def test_latent_attention_and_experts_in_some_layers_only_are_refused():
    with pytest.raises(InputError, match="latent attention"):
        architecture_from_config({**DEEPSEEK_MOE, "kv_lora_rank": 512}, "model")
    with pytest.raises(InputError, match="some layers only"):
        architecture_from_config({**QWEN3_30B, "decoder_sparse_step": 2}, "model")
