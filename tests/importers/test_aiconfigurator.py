"""aiconfigurator's operator databases: a small package in their layout, and the real one where it is installed."""

import importlib.util

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.design.load import resolve
from simulator.devices.build import build
from simulator.devices.device import Fidelity
from simulator.devices.measured.bind import measured_devices
from simulator.importers import aiconfigurator
from simulator.inputs.errors import InputError
from simulator.model.layers import operators
from simulator.model.operators import Collective, Gemm

HEAD = {"framework": "VLLM", "version": "0.24.0", "device": "NVIDIA H100 80GB HBM3"}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{**HEAD, **row} for row in rows]), path)


def attention(**fields):
    return {"op_name": "attention", "kernel_source": "fa3", "batch_size": 1, "isl": 1, "num_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "beam_width": 1, "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16",
            "step": 0, "window_size": 0, **fields}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`aiconfigurator_core` with one system, three frameworks' worth of what the reader looks at."""
    root = tmp_path / "aiconfigurator_core"
    (root / "systems").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    for system, framework, version in (("h100_sxm", "vllm", "0.24.0"), ("h100_sxm", "vllm", "0.9.0"),
                                       ("h100_sxm", "trtllm", "1.3.0rc20"), ("a100_sxm", "trtllm", "1.0.0")):
        data = root / "systems/data" / system
        gemms = [{"op_name": "gemm", "gemm_dtype": dtype, "m": m, "n": n, "k": k, "latency": 0.01 * (n * k) / 2**24}
                 for dtype in ("bfloat16", "fp8_block") for m in (1, 16) for n in (4096, 8192) for k in (4096, 16384)]
        write(data / f"gemm/{framework}/{version}/gemm_perf.parquet", gemms)
        write(data / f"attention/{framework}/{version}/context_attention_perf.parquet",
              [attention(isl=512, latency=0.1), attention(isl=512, batch_size=2, latency=0.2),
               attention(isl=512, window_size=128, latency=0.05), attention(isl=512, kv_cache_dtype="fp8", latency=0.06)])
        write(data / f"attention/{framework}/{version}/generation_attention_perf.parquet",
              [attention(batch_size=8, step=1023, latency=0.03), attention(batch_size=8, step=1023, kv_cache_dtype="fp8", latency=0.02)])
        write(data / f"comm/{framework}/{version}/custom_allreduce_perf.parquet",
              [{"op_name": "all_reduce", "kernel_source": kernel, "allreduce_dtype": "bfloat16", "num_gpus": 2,
                "message_size": 4096, "latency": ms} for kernel, ms in (("vLLM_custom_graph", 0.004), ("vLLM_custom_eager", 0.02))])
        write(data / f"moe/{framework}/{version}/moe_perf.parquet",
              [{"moe_dtype": "bfloat16", "num_tokens": tokens, "hidden_size": 2048, "inter_size": 768, "topk": 8, "num_experts": 128,
                "moe_tp_size": tp, "moe_ep_size": ep, "distribution": kind, "latency": 0.05 * tokens}
               for tokens in (1, 64) for tp, ep in ((1, 1), (2, 1), (1, 2)) for kind in ("balanced", "power_law_1.2")])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return root


def test_rows_arrive_in_seconds_tokens_and_bytes(package):
    table = aiconfigurator.read_database("h100_sxm/vllm")["operators"]
    assert table.meta["framework"] == "vllm 0.24.0"  # newer than 0.9.0
    assert table.points("gemm", (4096, 4096, 16, 16)).seconds == pytest.approx([10e-6, 10e-6])
    assert {i[2] for i in table.identities("gemm")} == {16}  # block-scaled fp8 is another format
    prefill = table.points("prefill_attention", (32, 8, 128, 16, 16))
    assert prefill.axes.tolist() == [[512.0], [0.0]] and prefill.seconds == pytest.approx([100e-6])
    decode = table.points("decode_attention", (32, 8, 128, 16, 16))
    assert decode.axes.tolist() == [[8.0], [1024.0]] and decode.seconds == pytest.approx([30e-6])
    reduce = table.points("collective", ("all_reduce", 2))
    assert reduce.axes.tolist() == [[8192.0]] and reduce.seconds == pytest.approx([4e-6])  # two bytes an element, in a graph


def test_of_two_kernels_the_one_with_more_rows_is_taken_and_none_is_averaged(package):
    path = package / "systems/data/h100_sxm/attention/vllm/0.24.0/generation_attention_perf.parquet"
    write(path, [attention(batch_size=b, step=1023, kernel_source=kernel, latency=ms)
                 for kernel, ms, sizes in (("triton", 0.05, (1,)), ("fa3", 0.03, (1, 8))) for b in sizes])
    decode = aiconfigurator.read_database("h100_sxm/vllm")["operators"].points("decode_attention", (32, 8, 128, 16, 16))
    assert decode.seconds == pytest.approx([30e-6, 30e-6])


def test_experts_are_whole_blocks_by_tokens_and_experts_awake(package):
    table = aiconfigurator.read_database("h100_sxm/vllm")["operators"]
    whole = table.points("experts", (128, 8, 2048, 768, 16, 16))
    assert whole.axes.tolist() == [[1.0, 64.0], [8.0, 128.0]] and whole.seconds == pytest.approx([50e-6, 3200e-6])
    assert table.points("experts", (128, 8, 2048, 384, 16, 16)) is not None  # half of each expert
    for model, covered in (("qwen3-30b-a3b", {"experts_up", "experts_activation", "experts_sum"}), ("mixtral-8x7b", set())):
        design = resolve({"model": model, "hardware": "h100-sxm", "workload": "chat-200"})
        ops = operators(design.model, design.precision, 1)
        assert measured_devices(build(design.hardware, design.parallelism), table, ops).compute.covered == covered


def test_what_beats_physics_is_left_out(package):
    hopper = aiconfigurator.read_database("h100_sxm/trtllm")["operators"]
    assert hopper.points("decode_attention", (32, 8, 128, 16, 16)) is not None
    assert hopper.points("decode_attention", (32, 8, 128, 8, 16)) is None
    assert hopper.points("prefill_attention", (32, 8, 128, 8, 16)) is None
    assert not aiconfigurator.read_database("a100_sxm/trtllm")["operators"].identities("decode_attention")


def test_shapes_between_those_of_the_lattice_have_the_efficiency_of_their_neighbours(package):
    design = resolve({"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": "chat-200"})
    table = aiconfigurator.read_database("h100_sxm/vllm")["operators"]
    device = measured_devices(build(design.hardware, design.parallelism), table, operators(design.model, design.precision, 1)).compute
    priced = device.price(Gemm(6144, 4096, 16, 16), np.array([1.0, 16.0]))
    # every shape of this lattice takes 10 us per 2^24 weights: so must one in between, but for the streamed activations
    assert priced.seconds == pytest.approx([15e-6, 15e-6], rel=2e-3)
    assert priced.fidelity is not Fidelity.ANALYTIC
    fallback = device.fallback.price(Gemm(6144, 4096, 8, 8), np.array([1.0]))
    assert device.price(Gemm(6144, 4096, 8, 8), np.array([1.0])).seconds == fallback.seconds


def test_a_measured_all_reduce_scales_the_link_model(package):
    design = resolve({"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": "chat-200", "parallelism": {"tensor": 2}})
    table = aiconfigurator.read_database("h100_sxm/vllm")["operators"]
    devices = measured_devices(build(design.hardware, design.parallelism), table, operators(design.model, design.precision, 2))
    assert devices.link.price(Collective("all_reduce", 2, 8192.0), np.array([1.0])).seconds == pytest.approx([4e-6])
    four = Collective("all_reduce", 4, 8192.0)
    assert devices.link.price(four, np.array([1.0])).seconds == devices.link.fallback.price(four, np.array([1.0])).seconds


@pytest.mark.parametrize(("source", "said"), [("h100/vllm", "did you mean 'h100_sxm'"), ("h100_sxm", "vllm, trtllm"),
                                              ("h100_sxm/vllm/9.9", "0.9.0, 0.24.0"), ("h100_sxm/ollama", "frameworks of h100_sxm")])
def test_a_source_that_is_not_there_is_told_what_is(package, source, said):
    with pytest.raises(InputError) as refused:
        aiconfigurator.read_database(source)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="silicon"):
        aiconfigurator.read_database("h100_sxm/vllm")


@pytest.mark.skipif(importlib.util.find_spec("aiconfigurator_core") is None,
                    reason="aiconfigurator-core is not installed: pip install 'llm-serving-sweeper[silicon]'")
def test_llama_on_h100_is_served_from_the_real_database(tmp_path):
    from simulator.commands.import_tables import import_command
    from simulator.simulate import simulate

    assert import_command("aiconfigurator", "h100_sxm/vllm", tmp_path / "h100") == 0
    plain = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": "chat-200"}
    design = resolve({**plain, "hardware": {"base": "h100-sxm", "tables": str(tmp_path / "h100")}})
    result = simulate(design)
    by_name = {op.name: op for op in result.operators}
    assert all(by_name[name].fidelity == "interpolated" for name in ("qkv", "gate_up", "down", "decode_attention"))
    # 16 GB of weights at 3.35 TB/s take 4.8 ms a step
    assert 4.8e-3 < result.metrics["tpot_p50"] < 12e-3
