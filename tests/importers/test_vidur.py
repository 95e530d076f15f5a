"""Vidur's profiling CSVs, in the columns that its profiler writes; times are our own."""

import pytest

from simulator.design.load import resolve
from simulator.importers.vidur import read_profile
from simulator.inputs.errors import InputError

MODEL = resolve({"model": "llama-3.1-8b", "hardware": "a100-80gb", "workload": "chat-200"}).model
SHAPE = "32,8,4096,14336,128256,True"


@pytest.fixture
def profile(tmp_path):
    """mlp.csv and attention.csv of one model on one device, TP 1 and 2, and a node's collectives."""
    folder = tmp_path / "compute/a100/meta-llama/Meta-Llama-3-8B"
    folder.mkdir(parents=True)
    names = ("emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj", "post_attention_layernorm",
             "mlp_up_proj", "mlp_act", "mlp_down_proj", "add")
    head = ",".join(f"time_stats.{n}.{s}" for n in names for s in ("min", "median", "std"))
    lines = [head + ",n_head,n_kv_head,n_embd,n_expanded_embd,vocab_size,use_gated_mlp,num_tokens,num_tensor_parallel_workers"]
    for tensor in (1, 2):
        for tokens in (8, 64, 512):
            stats = ",".join(f"0.001,{0.01 * (i + 1) * (1 + tokens / 512):.6f},0.0005" for i in range(len(names)))
            lines.append(f"{stats},{SHAPE},{tokens},{tensor}")
    (folder / "mlp.csv").write_text("\n".join(lines) + "\n")
    (folder / "attention.csv").write_text(
        "time_stats.attn_prefill.median,time_stats.attn_decode.median,time_stats.attn_kv_cache_save.median,n_embd,n_q_head,"
        "n_kv_head,block_size,num_tensor_parallel_workers,max_model_len,batch_size,prefill_chunk_size,kv_cache_size,is_prefill\n"
        ",0.02,0.004,4096,32,8,16,1,4096,4,0,1023,False\n"
        "0.3,,0.005,4096,32,8,16,1,4096,1,512,256,True\n"
        ",0.01,0.004,4096,32,8,16,2,4096,4,0,1023,False\n"
        ",0.09,0.004,8192,64,8,16,1,4096,4,0,1023,False\n")  # another model
    node = tmp_path / "network/a100_dgx"
    node.mkdir(parents=True)
    (node / "all_reduce.csv").write_text(
        ",time_stats.all_reduce.median,rank,num_workers,size,collective,devices_per_node,max_devices_per_node\n"
        "0,0.017,0,2,2048,all_reduce,2,8\n1,0.054,0,2,1048576,all_reduce,2,8\n2,0.9,0,2,1048576,all_reduce,1,8\n")
    return folder


def test_every_operator_arrives_in_seconds_under_our_name(profile):
    tables = read_profile(profile, MODEL)
    assert sorted(tables) == ["tp1", "tp2"]
    one, two = tables["tp1"], tables["tp2"]
    assert one.points("gemm", (6144, 4096, 16, 16)).axes.tolist() == [[8.0, 64.0, 512.0]]
    assert one.points("gemm", (6144, 4096, 16, 16)).seconds[0] == pytest.approx(30e-6 * (1 + 8 / 512), rel=1e-4)
    assert two.points("gemm", (14336, 4096, 16, 16)).seconds[0] == pytest.approx(70e-6 * (1 + 8 / 512), rel=1e-4)  # half of gate and up
    assert one.meta["device"] == "a100" and one.meta["hardware"] == "a100-80gb" and one.meta["model"] == "meta-llama/Meta-Llama-3-8B"


def test_a_norm_includes_the_addition_that_it_is_fused_with(profile):
    norm = read_profile(profile, MODEL)["tp1"].points("vector", ("attention_norm", 4096))
    assert norm.seconds[0] == pytest.approx((20e-6 + 100e-6) * (1 + 8 / 512), rel=1e-4)


def test_attention_counts_the_new_token_and_leaves_other_models_out(profile):
    tables = read_profile(profile, MODEL)
    decode = tables["tp1"].points("decode_attention", (32, 8, 128, 16, 16))
    assert decode.axes.tolist() == [[4.0], [1024.0]] and decode.seconds == pytest.approx([20e-6])
    prefill = tables["tp1"].points("prefill_attention", (32, 8, 128, 16, 16))
    assert prefill.axes.tolist() == [[512.0], [256.0]] and prefill.seconds == pytest.approx([300e-6])
    assert tables["tp2"].points("decode_attention", (16, 4, 128, 16, 16)).seconds == pytest.approx([10e-6])
    write = tables["tp1"].points("vector", ("kv_cache_write", 2048))
    assert write.axes.tolist() == [[4.0, 512.0]]


def test_collectives_inside_a_node_are_taken_and_those_between_nodes_are_not(profile):
    table = read_profile(profile, MODEL, profile.parents[3] / "network/a100_dgx")["tp2"]
    points = table.points("collective", ("all_reduce", 2))
    assert points.axes.tolist() == [[2048.0, 1048576.0]] and points.seconds == pytest.approx([17e-6, 54e-6])


def test_a_profile_of_another_model_is_refused_by_column(profile):
    other = resolve({"model": "llama-3.1-70b", "hardware": "a100-80gb", "workload": "chat-200"}).model
    with pytest.raises(InputError) as refused:
        read_profile(profile, other)
    assert refused.value.key == "n_head" and "--model" in str(refused.value) and "\n" not in str(refused.value)
    (profile / "attention.csv").write_text("batch_size,is_prefill\n1,True\n")
    with pytest.raises(InputError, match="n_embd"):
        read_profile(profile, MODEL)
