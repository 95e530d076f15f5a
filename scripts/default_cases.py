"""Cases of engines' defaults worked by hand from their sources: (name, expected, what the records give).

Limits, capture sizes and memory fractions of vLLM 0.18, 0.24, 0.32 and SGLang 0.5.14 were also given by the engines' own functions
on a faked device. What needs a running scheduler (admission, preemption, chunks) is tested with the schedulers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from simulator.design.engine_defaults.graphs import GraphCover, graph_cover
from simulator.design.engine_defaults.kv import memory_fraction, prefix_caching
from simulator.design.engine_defaults.limits import limits
from simulator.design.engine_defaults.situation import Situation
from simulator.design.engine_defaults.switches import async_scheduling, conservativeness, steps_together
from simulator.design.load import load_engine
from simulator.design.records.engine import EngineRecord

Case = tuple[str, object, object]

# GiB as the drivers report them
H100 = Situation("h100", 79.1, sm=90)
H200 = Situation("h200", 139.8, sm=90)
B200 = Situation("b200", 178.4, sm=100)
MI300X = Situation("mi300x", 191.98)
A100 = Situation("a100-80gb", 79.25, sm=80)
A100_40 = Situation("a100-40gb", 39.4, sm=80)
L40S = Situation("l40s", 44.4, sm=89)
RTX4090 = Situation("rtx4090", 23.6, sm=89)
RTX_PRO_6000 = Situation("rtx-pro-6000", 94.9, sm=120)
# nvidia-smi shows more than CUDA reports; SGLang reads nvidia-smi
SMI_GIB = {"h100": 81559 / 1024, "h200": 143771 / 1024, "b200": 183359 / 1024, "rtx4090": 24564 / 1024, "l40s": 46068 / 1024,
           "a100-40gb": 40960 / 1024, "rtx-pro-6000": 97887 / 1024}


def cases() -> Iterator[Case]:
    """Every case, by engine."""
    yield from _vllm_limits()
    yield from _vllm_graphs()
    yield from _vllm_switches()
    yield from _vllm_rules()
    yield from _sglang()
    yield from _trtllm()


def _server(record: EngineRecord, of: Situation, **said: int | bool) -> tuple[tuple[int, int], GraphCover]:
    found = limits(record, of, **said)  # type: ignore[arg-type]
    return found, graph_cover(record, of, *found)


def _vllm_limits() -> Iterator[Case]:
    v24, v32 = load_engine("vllm-0.24"), load_engine("vllm-0.32")
    offline = v32.model_copy(update={"context": "offline"})
    for number, name, record, of, expected in (
        (1, "0.24 on B200", v24, B200, (8192, 1024)), (2, "0.32 on B200", v32, B200, (16384, 1024)),
        (3, "0.32 on A100-80, server", v32, A100, (2048, 256)),
        (3, "0.32 on A100-80, offline", offline, replace(A100, context="offline"), (8192, 256)),
        (4, "0.32 on H200, server", v32, H200, (8192, 1024)),
        (4, "0.32 on H200, offline", offline, replace(H200, context="offline"), (16384, 1024)),
        (5, "0.32 on H100, EP, DP 8, DeepEP low latency", v32,
         replace(H100, expert_parallel=True, data=8, all2all="deepep_low_latency"), (256, 256)),
    ):
        yield f"{number}: vLLM {name}", expected, limits(record, of)
    long = replace(L40S, longest=16384)
    yield "6: vLLM 0.32 on L40S without chunks", (16384, 256), limits(v32, long, chunked=False)
    short = replace(H100, longest=256)
    found, cover = _server(v32, short, sequences=16)
    yield "7: vLLM 0.32 on H100, 16 sequences of 256", ((4096, 16), 7, 32), (found, len(cover.sizes), cover.sizes[-1])
    throughput = v32.model_copy(update={"performance_mode": "throughput"})
    yield "vLLM 0.32 on H100, performance mode throughput", (16384, 2048), limits(throughput, H100)
    yield "vLLM 0.32 on H100, budget 512", (512, 512), limits(v32, H100, tokens=512)
    yield "vLLM 0.32 on MI300X", (16384, 1024), limits(v32, MI300X)
    unchunked = replace(L40S, longest=4096)
    yield "vLLM 0.10 on L40S without chunks: max_model_len outright", (4096, 256), limits(
        load_engine("vllm-0.10"), unchunked, chunked=False)


def _vllm_graphs() -> Iterator[Case]:
    v24, v32 = load_engine("vllm-0.24"), load_engine("vllm-0.32")
    for number, name, record, of, expected in (
        (1, "0.24 on B200", v24, B200, (51, 512)), (2, "0.32 on B200", v32, B200, (83, 1024)),
        (2, "0.32 on MI300X", v32, MI300X, (51, 512)),
    ):
        cover = _server(record, of)[1]
        yield f"{number}: graphs of vLLM {name}", expected, (len(cover.sizes), cover.sizes[-1])
    cover = _server(v32, H100, sequences=100)[1]
    yield "8: graphs of vLLM 0.32 on H100, 100 sequences", (29, 200, True), (len(cover.sizes), cover.sizes[-1], 100 in cover.sizes)
    cover = _server(v32, H100)[1]
    yield "9: rows of 300, 500 and 600 tokens", (304, 512, None), (cover.rows(300), cover.rows(500), cover.rows(600))


def _vllm_switches() -> Iterator[Case]:
    for version, fraction, charged in (("0.18", 0.9, False), ("0.20", 0.92, True)):
        kv = load_engine(f"vllm-{version}").kv
        yield f"10: utilization of vLLM {version}", (fraction, charged), (kv.fraction, kv.graphs_charged)
    two = replace(H100, pipeline=2)
    v1 = load_engine("vllm-0.32").model_copy(update={"runner": "v1"})
    for name, record, of, expected in (
        ("0.12", load_engine("vllm-0.12"), H100, False), ("0.14, PP 2", load_engine("vllm-0.14"), two, False),
        ("0.18, PP 2", load_engine("vllm-0.18"), two, True), ("0.32, PP 2, runner V1", v1, two, False),
        ("0.32, plain n-gram", load_engine("vllm-0.32"), replace(H100, drafter="ngram"), False),
    ):
        yield f"11: asynchronous scheduling of vLLM {name}", expected, async_scheduling(record, of)
    hybrid = replace(H100, hybrid=True)
    for version, expected in (("0.24", False), ("0.32", True)):
        yield f"12: prefix caching of a hybrid, vLLM {version}", expected, prefix_caching(load_engine(f"vllm-{version}"), hybrid)
    for version, expected in (("0.12", True), ("0.14", False)):
        got = steps_together(load_engine(f"vllm-{version}"), experts=False)
        yield f"14: dense ranks step together, vLLM {version}", expected, got


def _vllm_rules() -> Iterator[Case]:
    v32 = load_engine("vllm-0.32")
    for version, expected in (("0.24", (12.0, 8.0)), ("0.32", (6.0, 8.0))):
        balance = load_engine(f"vllm-{version}").data_parallel.balance
        yield f"13: scores of two ranks, vLLM {version}", expected, (
            balance.score(2, 4, kv_use=0.4, in_flight=6), balance.score(0, 8, in_flight=8))
    fusion = next(f for f in v32.fusions if f.site == "allreduce_norm" and f.sm == (90,))
    yield "15: tokens of a fused all-reduce and norm on H100, hidden 8192, TP 8, 4, 2", (32, 128, 4096), tuple(
        fusion.most_tokens(tensor, 8192) for tensor in (8, 4, 2))
    yield "16: forced acceptance of 2.5 with 3 drafts", (1.0, 0.5, 0.0), v32.speculation.rates(2.5, 3)
    dual = v32.experts.dual_batch
    assert dual is not None
    yield "17: dual batches", (False, True, False, True, False), (
        dual.used((31,), decode=True), dual.used((32,), decode=True), dual.used((511,), decode=False),
        dual.used((512,), decode=False), dual.used((64,) * 7 + (31,), decode=True))
    yield "18: 63 and 64 tokens missing on the decode side", (False, True), (v32.transfer.pulls(63), v32.transfer.pulls(64))


def _sglang() -> Iterator[Case]:
    record = load_engine("sglang-0.5.14")
    smi = {of.name: replace(of, memory_gib=SMI_GIB[of.name]) for of in (H100, H200, B200, RTX4090, L40S, A100_40, RTX_PRO_6000)}
    for name, tensor, expected in (("h100", 1, 0.830), ("h100", 8, 0.812), ("h200", 1, 0.903), ("h200", 8, 0.893),
                                   ("rtx4090", 1, 0.833), ("l40s", 1, 0.843), ("a100-40gb", 1, 0.823), ("b200", 1, 0.854),
                                   ("b200", 8, 0.849), ("rtx-pro-6000", 1, 0.858)):
        of = replace(smi[name], tensor=tensor)
        yield f"19: memory fraction of SGLang on {name}, TP {tensor}", expected, memory_fraction(record, of)
    for name, expected in (("h200", 0.769), ("b200", 0.751)):
        of = replace(smi[name], tensor=8, data=8)
        yield f"19: memory fraction of SGLang on {name}, DP attention 8", expected, memory_fraction(record, of)
    latent = replace(smi["h200"], tensor=8, latent=True)
    yield "19: memory fraction of SGLang on h200, TP 8, latent attention", 0.886, memory_fraction(record, latent)
    for name, tensor, drafter, expected in (
        ("rtx4090", 1, None, (24, 7)), ("h100", 1, None, (256, 36)), ("h200", 8, None, (512, 52)),
        ("rtx4090", 1, "eagle", (24, 16)), ("h100", 1, "eagle", (256, 51)),
    ):
        of = replace(smi[name], tensor=tensor, drafter=drafter)
        sizes = _server(record, of)[1].sizes
        yield f"20: decode graphs of SGLang on {name}, TP {tensor}, drafter {drafter}", expected, (sizes[-1], len(sizes))
    for name, of, expected in (
        ("EAGLE", replace(H100, drafter="eagle"), 48), ("context 131,072", replace(H100, longest=131072), 2048),
        ("context 8,192", replace(H100, longest=8192), 4096),
    ):
        yield f"21: running requests of SGLang, 400,000 tokens, {name}", expected, limits(record, of, pool_tokens=400_000)[1]
    ratio = record.scheduler.sglang.new_token_ratio  # type: ignore[union-attr]
    ranks = replace(H200, tensor=8, data=8)
    factor = conservativeness(record, ranks)
    yield "22: chunk and new-token ratio with DP attention 8", (1024, 0.21, 0.0294), (
        limits(record, ranks)[0], round(ratio.after(0, factor), 6), round(ratio.after(10**6, factor), 6))
    yield "23: new-token ratio after 0, 300, 600, 900 steps", (0.7, 0.399, 0.098, 0.098), tuple(
        round(ratio.after(steps), 6) for steps in (0, 300, 600, 900))


def _trtllm() -> Iterator[Case]:
    record = load_engine("trtllm-1.3")
    padded = record.model_copy(update={"graph_padding": True})
    plain_cover, padded_cover = _server(record, H100)[1], _server(padded, H100)[1]
    yield "28: TensorRT-LLM graphs of batches of 40 and 130, default and padded", (None, 40, None, None), (
        plain_cover.rows(40), padded_cover.rows(40), plain_cover.rows(130), padded_cover.rows(130))
    yield "28: TensorRT-LLM padded sizes to 128", (19, 128), (len(padded_cover.sizes), padded_cover.sizes[-1])
    wait = record.scheduler.trtllm.batch_wait.model_copy(  # type: ignore[union-attr]
        update={"ratio": 0.8, "timeout_iterations": 40})
    yield "29: TensorRT-LLM batch waiting", (False, True, True, True), (
        wait.releases(4096, 100, 8192, 0), wait.releases(4096, 100, 8192, 40), wait.releases(6500, 100, 8192, 0),
        wait.releases(4096, 0, 8192, 0))
    yield "TensorRT-LLM limits", (8192, 2048), limits(record, H100)
