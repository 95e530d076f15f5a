"""Serving points of today's models (data/silicon_modern/e2e_agg) as designs: model, formats, degrees, engine, clients.

What a row does not say is stated here, the same for all rows of an engine. `tp_size` and the experts' degrees are as the source's
converter wrote them: where experts are cut and dealt (moe_tp and moe_ep both above 1 and equal) a group of N GPUs is written as
N x N, and attention data parallelism over N GPUs of tensor parallel N as N x N experts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, isqrt
from pathlib import Path
from typing import Any

import numpy as np

from scripts.closed_loop import lengths
from scripts.e2e_formats import VLLM_RELEASES
from scripts.published import SkipError, model_of, record_of, rows_of
from scripts.report import Row, measured, row
from scripts.shipped_hardware import of_system
from simulator.design.design import Design
from simulator.design.load import resolve
from simulator.engine import engine
from simulator.engine.result import with_arrivals
from simulator.inputs.errors import InputError
from simulator.prepare import violations
from simulator.pricing.cache import CostCache
from simulator.pricing.price import PricedDesign, price
from simulator.pricing.step import StepCosts
from simulator.workload.trace import Trace

COLUMNS = ("model_path", "system", "backend", "precision", "isl", "osl", "concurrency", "batch_size", "tp_size",
           "attention_dp_size", "moe_tp_size", "moe_ep_size", "harness", "silicon_ttft_ms", "silicon_tpot_ms")
MODELS = {"deepseek-v3": "deepseek-r1", "deepseek-v3.1": "deepseek-r1"}  # the same dimensions
TPOT_BAR, TTFT_BAR, SIGNED_BAR = 15.0, 30.0, 6.0
ROUNDS = {"inferencemax": 10, "vendor": 10}  # requests a client; a vendor's number is not stated
LOWEST = {"inferencemax": 0.8, "vendor": 1.0}  # lengths are uniform in this share of the stated ones up to them
# Prompt tokens of a step: InferenceMAX's scripts (vLLM's default; SGLang's chunk on 180 GB; TensorRT-LLM's max_num_tokens)
BUDGET = {"vllm": 8192, "sglang": 16384, "trtllm": 16384}
ROUTED = ("deepseek-r1", "minimax-m2.5", "qwen3.5-397b-a17b")  # NVFP4 checkpoints keep attention in 16 bits
UNSTATED = {"sglang": (0, 5, 9), "trtllm": (1, 2)}  # what most rows with a version name
NVFP4 = {"weights": "nvfp4", "activations": "nvfp4"}
# Between client and first token besides the engine (HTTP, template, tokenising, streaming): of a request, and of each prompt token;
# settled on half of the InferenceMAX rows of vLLM on B200 with up to 8 clients. Vendors measure inside: as scripts/closed_loop.py.
AROUND_S = {"inferencemax": (0.025, 10e-6), "vendor": (0.01, 0.0)}


@dataclass(frozen=True)
class Point:
    """What a row asks for: tensor ranks of a data-parallel engine, engines, clients of one of them."""

    model: str
    tensor: int
    data: int
    expert_parallel: bool
    clients: int


def point_of(line: dict[str, str]) -> Point:
    """The deployment of a row. Raises SkipError for models without a configuration."""
    found = model_of(line["model_path"].replace("-FP8", "").replace("-NVFP4", ""))
    tensor, data = int(float(line["tp_size"])), int(float(line["attention_dp_size"] or 1))
    cut, dealt = int(float(line["moe_tp_size"] or 1)), int(float(line["moe_ep_size"] or 1))
    if cut == dealt > 1:  # N x N stands for N
        tensor, data = (isqrt(tensor), data) if data == 1 else (tensor, isqrt(data))
    elif data > 1 and dealt == tensor * data:
        tensor = 1
    clients = int(float(line["concurrency"])) if line["concurrency"] else int(float(line["batch_size"])) * data
    return Point(MODELS.get(found, found), tensor, data, dealt > 1, max(ceil(clients / data), 1))


def precision_of(model: str, line: dict[str, str]) -> dict[str, Any]:
    """Number formats of the checkpoint that a row names, cache in 8 bits with quantised weights."""
    kind = line["precision"]
    if kind == "bf16":
        return {"weights": "bf16", "activations": "bf16"}
    if model.startswith("gpt-oss"):  # MXFP4 experts; Blackwell's kernels take 8-bit activations
        if line["system"] == "h100_sxm":
            return {}
        return {"experts": {"weights": "mxfp4", "activations": "fp8"}, "weights": "bf16", "activations": "bf16", "kv": "fp8"}
    if kind == "fp8":
        if line["gemm_quant_mode"] == "fp8_block" or model.startswith(("deepseek", "minimax", "qwen3.5")):
            return {"weights": "fp8_block", "activations": "fp8_block", "kv": "fp8"}
        return {"weights": "fp8", "activations": "fp8", "kv": "fp8"}
    if model in ROUTED:
        return {"weights": "bf16", "activations": "bf16", "kv": "fp8", "experts": NVFP4, "shared_experts": NVFP4, "mlp": NVFP4}
    return {**NVFP4, "kv": "fp8"}


def version_of(line: dict[str, str]) -> tuple[int, ...] | None:
    """Of the engine: stated, vLLM's of the month, or the usual one."""
    words = line["backend_version"].split(".")
    if words[0].isdigit():
        return tuple(int(word) for word in words[:3] if word.isdigit())
    if line["backend"] != "vllm":
        return UNSTATED[line["backend"]]
    known = [version for month, version in VLLM_RELEASES if month <= line["measured"][:7]]
    return known[-1] if known else None


def design_of(line: dict[str, str], point: Point) -> Design:
    """The design of one engine of a row. Raises InputError where it cannot be written."""
    slots = max(point.clients, 1)
    budget, longest = _budget(line, slots), int(line["isl"]) + int(line["osl"]) + 256
    return resolve({
        "model": point.model, "hardware": {"base": of_system(line["system"]), "gpu": {"kernels": line["backend"]}},
        "engine": _engine(line, slots),
        "parallelism": {"tensor": point.tensor, "expert_parallel": point.expert_parallel and point.data == 1},
        "precision": precision_of(point.model, line),
        "serving": {"max_num_seqs": slots, "max_num_batched_tokens": budget, "max_model_len": longest,
                    "enable_prefix_caching": False, **({"enable_chunked_prefill": True} if longest > budget else {})},
        "workload": "chat-200"})


def is_modern(path: Path) -> bool:
    """Whether a file has the columns of these points."""
    first = rows_of(path, ())[0]
    return all(column in first for column in COLUMNS)


def modern_rows(path: Path) -> Iterator[Row]:
    """All points, and by system and framework, and by model."""
    lines = [line for line in rows_of(path, COLUMNS) if line["silicon_tpot_ms"] and line["tp_size"]]
    found = predicted(lines, lambda text: print(text, file=sys.stderr))
    groups: dict[str, list[int]] = {"": list(range(len(lines)))}
    for i, line in enumerate(lines):
        groups.setdefault(f"{line['system']}/{line['backend']}/", []).append(i)
        groups.setdefault(f"{line['model_path'].rpartition('/')[2].lower()}/", []).append(i)
        groups.setdefault(f"{line['system']}/", []).append(i)
    for name, members in groups.items():
        yield from _group(f"modern/{name}", [lines[i] for i in members], [found[i] for i in members], whole=not name,
                          judged=name.count("/") == 2)
    refused: dict[str, int] = {}
    for one in found:
        if isinstance(one, str):
            reason = one.partition(":")[0]
            refused[reason] = refused.get(reason, 0) + 1
    yield from (row(f"modern/refused/{reason}", count, "points") for reason, count in sorted(refused.items()))


def _group(name: str, lines: list[dict[str, str]], found: list[tuple[float, float] | str], *, whole: bool,
           judged: bool) -> Iterator[Row]:
    served = [(line, one) for line, one in zip(lines, found, strict=True) if not isinstance(one, str)]
    share = 100 * len(served) / len(lines)
    yield measured(f"{name}expressed_pct", share, "%", ">= 98 %" if whole else "", share >= 98 if whole else None, digits=2)
    if not served:
        return
    off = {at: np.array([one[i] * 1e3 / float(line[f"silicon_{at}_ms"]) - 1 for line, one in served]) * 100
           for i, at in enumerate(("ttft", "tpot"))}
    yield row(f"{name}tpot_mape", float(np.abs(off["tpot"]).mean()), "%", TPOT_BAR if whole else None, digits=2)
    bar = SIGNED_BAR if judged and len(lines) >= 30 else None
    yield row(f"{name}tpot_median", float(np.median(off["tpot"])), "%", bar, absolute=True, digits=2)
    yield row(f"{name}ttft_median_abs", float(np.median(np.abs(off["ttft"]))), "%", TTFT_BAR if whole else None, digits=2)
    yield row(f"{name}points", len(lines), "")


def as_configured(name: str, slots: int) -> Any:
    """An engine's record; TensorRT-LLM with graphs up to the batch, padded (cuda_graph_config of both harnesses)."""
    if not name.startswith("trtllm"):
        return name
    return {"base": name, "graph_padding": True, "graphs": {"largest": [{"value": max(slots, 128)}]}}


def _engine(line: dict[str, str], slots: int) -> Any:
    """The engine's record as the harnesses configure it."""
    return as_configured(record_of(line["backend"], version_of(line)), slots)


def _budget(line: dict[str, str], slots: int) -> int:
    """Tokens of a step: the harness's; of vendors' rows aiconfigurator's rule, prompt + batch + 1,500, SGLang's its chunk."""
    if line["harness"] == "vendor" and line["backend"] != "sglang":
        return int(line["isl"]) + slots + 1500
    return max(BUDGET[line["backend"]], slots)


def predicted(lines: list[dict[str, str]], note: Callable[[str], None]) -> list[tuple[float, float] | str]:
    """(TTFT, TPOT) in seconds of every row, or why it cannot be written or served."""
    cache, ready = CostCache(), {}
    found: list[tuple[float, float] | str] = []
    for number, line in enumerate(lines):
        try:
            point = point_of(line)
            key = (line["backend"], line["backend_version"], line["measured"], line["system"], line["precision"],
                   line["gemm_quant_mode"], line["isl"], line["osl"], replace(point, clients=0), point.clients)
            if key not in ready:
                ready[key] = _priced(design_of(line, point), point, cache)
            found.append(_served(ready[key], line, point))
        except (SkipError, InputError) as error:
            found.append(str(error))
        if number % 100 == 99:
            note(f"{number + 1} of {len(lines)} points")
    return found


def _priced(design: Design, point: Point, cache: CostCache) -> PricedDesign:
    if point.data == 1:
        if missed := [v for v in violations(design) if v.name not in ("kv_fit",)]:
            raise SkipError(f"{missed[0].name}: {missed[0].message}")
        return price(design, cache)
    shared = design.model_copy(update={"parallelism": design.parallelism.model_copy(
        update={"expert_parallel": point.expert_parallel})})
    found = price(shared, cache, data=point.data)
    assert found.prices.gathered_ns is not None
    return replace(found, costs=_with_gathered(found.costs, found.prices.gathered_ns, point.data))


def _with_gathered(costs: StepCosts, gathered_ns: Any, data: int) -> StepCosts:
    """Engines that step together and have equally much to do: experts at the rows of all of them."""
    rows = np.minimum(np.arange(len(costs.linear_ns)) * data, len(gathered_ns) - 1)
    return replace(costs, linear_ns=costs.linear_ns + gathered_ns[rows])


def _served(ready: PricedDesign, line: dict[str, str], point: Point) -> tuple[float, float]:
    """Means over all requests of a closed loop."""
    count = point.clients * ROUNDS[line["harness"]]
    prompts = lengths(int(line["isl"]), LOWEST[line["harness"]], count, 1)
    outputs = lengths(int(line["osl"]), LOWEST[line["harness"]], count, 2)
    trace = Trace(np.zeros(count, np.int64), prompts, outputs, concurrency=point.clients)
    result = engine.run(trace, ready.scheduler, ready.costs, gaps=False)
    if (result.finish_ns < 0).any():
        raise SkipError("a request does not fit")
    arrival = with_arrivals(trace, result).arrival_ns
    fixed_s, token_s = AROUND_S[line["harness"]]
    waited_s = (result.first_token_ns - arrival) / 1e9 + prompts * token_s
    each_s = (result.finish_ns - result.first_token_ns) / np.maximum(outputs - 1, 1) / 1e9
    ttft_s, tpot_s = float(waited_s.mean()) + fixed_s, float(each_s.mean())
    return ttft_s, tpot_s
