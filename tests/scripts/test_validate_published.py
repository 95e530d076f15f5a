"""`scripts/validate_published.py`: how rows are read, skipped, named and judged."""

import csv
import json

import numpy as np
import pytest

from scripts.published import SkipError, engine_of, hardware_of, model_of, precision_of, record_of
from scripts.published_harness import measured_of
from scripts.validate_published import COLUMNS, main, prefix_of

POINT = dict.fromkeys(COLUMNS, "") | {
    "source": "somebody/bench docs/page.md@0123abcd (vLLM 0.19.1)", "model": "meta-llama/Llama-3.1-8B-Instruct", "precision": "bf16",
    "gpu": "H100 80GB", "num_gpus": "1", "tp": "1", "pp": "1", "ep": "1", "dp": "1", "framework": "vLLM", "isl": "512", "osl": "64",
    "concurrency": "4", "output_tok_s_total": "450", "ttft_ms": "40", "tpot_ms": "8", "notes": "closed loop, 20 requests"}


def run(tmp_path, *points):
    file, out, table = tmp_path / "points.csv", tmp_path / "rows.json", tmp_path / "errors.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS)
        writer.writeheader()
        writer.writerows(points)
    code = main([str(file), "--json", str(out), "--points", str(table)])
    with table.open(newline="") as opened:
        return code, {row["name"]: row for row in json.loads(out.read_text())}, list(csv.DictReader(opened))


@pytest.mark.parametrize(("source", "prefix"), [
    ("NVIDIA/TensorRT-LLM docs/source/performance/perf-overview.md@00f37686 (v1.0)",
     "nvidia-tensorrt-llm-docs-source-performance-perf-overview-md"),
    ("vllm-project/vllm issue 18725", "vllm-project-vllm-issue-18725"),
    ("docs.nvidia.com/nim/benchmarking/llm/1.0.0/performance (stored copy)", "docs-nvidia-com-nim-benchmarking-llm-1-0-0-performance"),
])
def test_a_prefix_is_repository_and_page(source, prefix):
    assert prefix_of(source) == prefix


def test_a_modern_row_is_simulated_and_judged(tmp_path):
    _, rows, table = run(tmp_path, POINT)
    assert rows["somebody-bench-docs-page-md/tpot_median"]["goal"] == "|x| <= 8 %"
    assert abs(rows["somebody-bench-docs-page-md/tpot_median"]["value"]) < 30
    assert rows["published/expressed_pct"]["value"] == 100
    assert float(table[0]["tpot_error"]) == pytest.approx(rows["somebody-bench-docs-page-md/tpot_median"]["value"] / 100, abs=1e-3)


def test_what_cannot_be_expressed_is_counted_by_reason(tmp_path):
    _, rows, table = run(tmp_path, POINT, {**POINT, "gpu": "Cerebras"}, {**POINT, "notes": "MTP 1 token, 20 requests"},
                         {**POINT, "model": "nobody/knows-7b"}, {**POINT, "isl": ""}, {**POINT, "framework": "Deepspeed-MII",
                                                                                        "source": "x"})
    assert rows["published/expressed_pct"]["value"] == pytest.approx(100 / 6, abs=1e-3)
    assert {r["skipped"] for r in table} == {"", "GPU without a preset", "speculation", "model without a configuration at hand",
                                             "lengths not stated", "another engine"}
    assert rows["published/skipped/speculation"]["value"] == 1


def test_rows_of_unknown_versions_are_printed_but_not_judged(tmp_path):
    code, rows, _ = run(tmp_path, {**POINT, "source": "somebody/bench page"})
    assert code == 0 and rows["somebody-bench-page/tpot_median"]["goal"] == ""


def test_loads_are_read_from_the_row():
    closed = measured_of(POINT)
    assert (closed.clients, closed.requests, closed.rate_per_s, closed.version) == (4, 20, None, (0, 19, 1))
    burst = measured_of({**POINT, "concurrency": "", "request_rate": "inf", "notes": "ShareGPT, 1000 requests sent at once"})
    assert (burst.clients, burst.requests, burst.sharegpt) == (1000, 1000, True)
    open_loop = measured_of({**POINT, "concurrency": "", "request_rate": "2", "notes": "100 prompts at 2 req/s"})
    assert (open_loop.requests, open_loop.rate_per_s) == (100, 2.0)
    static = measured_of({**POINT, "concurrency": "16", "notes": "static batch, offline; prefill included in tpot"})
    assert (static.clients, static.requests, static.prefill_in_tpot, static.online) == (16, 16, True, False)


def test_quoted_flags_become_settings():
    notes = "20 requests; script: vllm serve x --max-model-len 32768 --gpu-memory-utilization 0.85 --async-scheduling"
    assert measured_of({**POINT, "notes": notes}).serving == {
        "max_model_len": 32768, "memory_utilization": 0.85, "async_scheduling": True}


def test_sharegpt_lengths_have_the_stated_means():
    prompts, outputs = measured_of({**POINT, "isl": "217.4", "osl": "201.5", "notes": "ShareGPT, 1000 requests"}).lengths()
    assert (len(prompts), np.std(prompts) > 100) == (1000, True)
    assert prompts.mean() == pytest.approx(217.4, rel=0.01) and outputs.mean() == pytest.approx(201.5, rel=0.01)


def test_names_are_understood():
    assert model_of("Llama-3.3-70B-Instruct") == "llama-3.1-70b"
    assert hardware_of("H100 SXM 80GB") == "h100-sxm"
    assert hardware_of("Nvidia A100 GPU")["memory"]["capacity"] == "39.39 GiB"
    assert precision_of("fp8 (fp8 kv)", family="vllm") == {"weights": "fp8", "activations": "fp8", "kv": "fp8"}
    assert precision_of("fp8", family="vllm")["kv"] == "bf16" and precision_of("fp8", family="trtllm")["kv"] == "fp8"
    assert engine_of("vLLM 0.11.2") == ("vllm", (0, 11, 2))
    assert (record_of("vllm", (0, 11, 2)), record_of("vllm", None), record_of("vllm", (0, 4))) == ("vllm-0.10", "vllm-0.32", "vllm-0.10")
    for unknown in ("H20", "H800", "not stated (8 GPU node)"):
        with pytest.raises(SkipError):
            hardware_of(unknown)
