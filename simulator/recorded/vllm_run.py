"""The reader of recorded vLLM serving runs: machine and engine arguments, request times, the load over time.

A run is a folder with `meta.json` (engine arguments), `requests.jsonl` (per request, seconds: `queued_ts`,
`first_token_ts`, `last_token_ts`, `input_toks`, `output_toks`; null where the request failed), and optionally
`timeseries.csv` (t, running, waiting) and `cluster.json`, of which the device's name is read: its link is what LLMServingSim
assumed and, for RTXPRO6000, fitted (configs/cluster/README.md there), not a measurement. What the run measured of the KV
cache is read only to be compared with.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.design.load import CONFIGS
from simulator.inputs.errors import InputError, nearest
from simulator.inputs.files import MIB, is_there, parse_json, read_text
from simulator.inputs.narrowing import int32, whole
from simulator.workload.trace import Trace
from simulator.workload.trace_files import read_trace

Float64 = NDArray[np.float64]
MOST_REQUESTS = 512 * MIB  # of requests.jsonl

# Engine arguments that change what is served in a way not modelled here, and their harmless values.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "enforce_eager": (None, False), "speculative_config": (None,), "decode_context_parallel_size": (None, 1),
    "prefill_context_parallel_size": (None, 1), "kv_cache_memory_bytes": (None,), "cpu_offload_gb": (None, 0, 0.0),
    "enable_dbo": (None, False), "enable_eplb": (None, False), "kv_transfer_config": (None,),
    "all2all_backend": (None, "allgather_reducescatter", "naive")}
_HALF = ("auto", "half", "float16", "bfloat16", "torch.float16", "torch.bfloat16")
_FORMATS = {"auto": "bf16", "bfloat16": "bf16", "float16": "bf16", "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8"}
_SECTIONS = ("cache_config", "scheduler_config", "parallel_config", "model_config")  # of a resolved configuration


@dataclass(frozen=True)
class RecordedRun:
    """Times in seconds from the first arrival; requests in order of arrival. Shapes [n]; load: columns by name."""

    name: str
    model: str
    vllm_version: str
    engine: Mapping[str, Any]  # engine arguments, resolved where the run recorded that
    device: str  # as the run or its cluster file names it
    data_parallel: int  # engines
    arrival_s: Float64
    first_token_s: Float64
    finish_s: Float64
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    request: NDArray[np.int64]  # line of the workload each request came from
    load: Mapping[str, Float64]
    num_gpu_blocks: int | None  # measured


def read_run(folder: Path) -> RecordedRun:
    """The run in `folder`. Raises InputError naming the file that is absent or malformed."""
    meta = _json(folder / "meta.json")
    cluster = _json(folder / "cluster.json") if is_there(folder / "cluster.json") else {}
    engine = dict(meta.get("engine_kwargs") or {})
    resolved = meta.get("resolved_config") or {}
    for section in _SECTIONS:
        found = resolved.get(section)
        for key, value in (found.items() if isinstance(found, dict) else ()):
            if engine.get(key) is None:
                engine[key] = value
    if engine.get("speculative_config") is None:
        engine["speculative_config"] = resolved.get("speculative_config")
    for key, harmless in _UNSUPPORTED.items():
        if engine.get(key) not in harmless:
            raise InputError(f"{key}={engine[key]!r} is not modelled", file=str(folder / "meta.json"), key=key)
    for key in ("max_num_seqs", "max_num_batched_tokens"):  # vLLM's defaults depend on device and entry point
        if engine.get(key) is None:
            raise InputError("is not recorded", file=str(folder / "meta.json"), key=key)
    times: Any = _requests(folder / "requests.jsonl")
    data = int(engine.get("data_parallel_size") or 1)
    instances = [i for node in cluster.get("nodes", []) for i in node.get("instances", [])]
    if len(instances) > data or any(i.get("pd_type") for i in instances):
        raise InputError(f"{len(instances)} instances for data_parallel_size {data}, or split ones, are not modelled",
                         file=str(folder / "cluster.json"))
    device = str((meta.get("hardware") or {}).get("device_name") or "")
    device = str(instances[0].get("hardware") or device) if instances else device
    blocks = (meta.get("kv_cache") or {}).get("num_gpu_blocks")
    fields: Any = [folder.name, str(meta.get("model") or engine.get("model")), str(meta.get("vllm_version", "")), engine,
                   device, data, *times, _load(folder / "timeseries.csv"), blocks]
    return RecordedRun(*fields)


def design_of(run: RecordedRun, *, hardware: str | None = None, model: str | None = None) -> dict[str, Any]:
    """The design (plain YAML data) that the run describes. Unknown names raise InputError with the nearest known one."""
    engine = run.engine
    plain: dict[str, Any] = {"base": hardware or preset_named(run.device, "hardware")}
    if engine.get("disable_custom_all_reduce"):
        plain["link"] = {"direct": None}
    pipeline = int(engine.get("pipeline_parallel_size") or 1)
    serving: dict[str, Any] = {"enable_prefix_caching": True, "async_scheduling": pipeline == 1, "cuda_graphs": True}
    for key in ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size", "enable_prefix_caching",
                "enable_chunked_prefill", "async_scheduling", "long_prefill_token_threshold", "policy",
                "scheduler_reserve_full_isl"):
        if engine.get(key) is not None:
            serving[key] = engine[key]
    if engine.get("gpu_memory_utilization") is not None:
        serving["memory_utilization"] = float(engine["gpu_memory_utilization"])
    if engine.get("num_gpu_blocks_override") is not None:  # what somebody asked for, unlike the measured num_gpu_blocks
        serving["num_gpu_blocks"] = int(engine["num_gpu_blocks_override"])
    return {"model": model or preset_named(run.model, "models"), "hardware": plain, "serving": serving,
            "precision": _precision(engine),
            "parallelism": {"tensor": int(engine.get("tensor_parallel_size") or 1), "pipeline": pipeline,
                            "expert_parallel": bool(engine.get("enable_expert_parallel"))},
            "workload": {"trace": "recorded"}}


def _precision(engine: Mapping[str, Any]) -> dict[str, str]:
    """The design's number formats. Raises InputError for those that are not modelled."""
    if str(engine.get("dtype") or "auto") not in _HALF:
        raise InputError(f"dtype={engine['dtype']!r} is not modelled", key="dtype")
    kv, weights = str(engine.get("kv_cache_dtype") or "auto"), engine.get("quantization")
    if kv not in _FORMATS:
        raise InputError(f"kv_cache_dtype={kv!r} is not modelled", key="kv_cache_dtype")
    if weights not in (None, "fp8"):
        raise InputError(f"quantization={weights!r} is not modelled", key="quantization")
    eight = weights or "bf16"
    return {"weights": eight, "activations": eight, "kv": _FORMATS[kv]}


def preset_named(name: str, catalogue: str) -> str:
    """The preset in configs/ that a device or checkpoint name means: letters and digits of its last part, vendor and
    tuning words left out."""
    known = {_plain(p.stem): p.stem for p in (CONFIGS / catalogue).glob("*.yaml")}
    words = name.rsplit("/", 1)[-1]
    for word in ("NVIDIA", "GeForce", "Blackwell", "Server Edition", "Workstation Edition", "Instruct"):
        words = words.replace(word, "")
    words = re.sub(r"-\d{4}$", "", words.rstrip("-"))  # a release date: Qwen3-30B-A3B-Instruct-2507
    if _plain(words) not in known:
        raise InputError(f"no preset for '{name}' in configs/{catalogue}; {nearest(_plain(words), known)}; give one by hand")
    return known[_plain(words)]


def trace_of(run: RecordedRun, workload: Trace) -> Trace:
    """The recorded arrivals with the contents of the workload's prompts. Raises InputError where lengths differ."""
    if len(workload) < int(run.request.max()) + 1:
        raise InputError(f"the workload has {len(workload)} requests, the run's last is number {int(run.request.max())}")
    lengths = workload.prompt_tokens[run.request]
    if not np.array_equal(lengths, run.prompt_tokens):
        at = int(np.flatnonzero(lengths != run.prompt_tokens)[0])
        raise InputError(f"request {int(run.request[at])} has {lengths[at]} prompt tokens in the workload, "
                         f"{run.prompt_tokens[at]} in the run")
    trace = replace(workload, arrival_ns=np.rint(run.arrival_s * 1e9).astype(np.int64), prompt_tokens=run.prompt_tokens,
                    output_tokens=run.output_tokens, priority=None, segments=None)
    if workload.prompt_ids is None or workload.prompt_id_offsets is None:
        return trace
    offsets = workload.prompt_id_offsets
    ids = [workload.prompt_ids[offsets[r]: offsets[r + 1]] for r in run.request]
    return replace(trace, prompt_ids=np.concatenate(ids), prompt_id_offsets=np.cumsum([0, *map(len, ids)]))


def without_contents(run: RecordedRun) -> Trace:
    """The recorded requests where no workload says what the prompts contain: nothing is shared."""
    return Trace(np.rint(run.arrival_s * 1e9).astype(np.int64), run.prompt_tokens, run.output_tokens)


def workload_of(run: RecordedRun, folder: Path, file: Path | None = None) -> Trace:
    """The recorded requests with the contents in `file`, or in a workload of matching lengths next to `folder`; with a
    warning on stderr where there is none."""
    if file is None:
        near = sorted(folder.parent.glob("*.jsonl.gz")) + sorted(folder.parent.glob("*.jsonl"))
        reasons = []
        for path in near:
            try:
                return trace_of(run, read_trace(str(path)))
            except InputError as error:
                reasons.append(f"{path.name} is not the run's workload: {error}")
        print(*reasons, sep="\n", end="\n" if reasons else "", file=sys.stderr)
        print("no workload found next to the run: prefix hits are not simulated", file=sys.stderr)
        return without_contents(run)
    return trace_of(run, read_trace(str(file)))


def _requests(path: Path) -> tuple[Any, ...]:
    text = read_text(path, most=MOST_REQUESTS)
    try:
        lines = [parse_json(line) for line in text.splitlines() if line.strip()]
        ends = [str(r["request_id"]).rsplit("-", 1)[-1] for r in lines]
        if not all(end.isdecimal() for end in ends):  # names of somebody's own: requests are in the workload's order
            ends = [str(at) for at in range(len(lines))]
        served = [all(r[k] is not None for k in ("queued_ts", "first_token_ts", "last_token_ts")) for r in lines]
        records = [r for r, done in zip(lines, served, strict=True) if done]
        number = np.array([int(end) for end, done in zip(ends, served, strict=True) if done])
        queued, first, last = (np.array([float(r[k]) for r in records]) for k in ("queued_ts", "first_token_ts", "last_token_ts"))
        prompt, output = (int32([whole(r[k], k, least=0) for r in records], k) for k in ("input_toks", "output_toks"))
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, InputError) as error:
        raise InputError(f"is not a list of recorded requests: {error}", file=str(path)) from error
    if not len(records):
        raise InputError("holds no requests that were served", file=str(path))
    if len(records) < len(lines):
        print(f"{path}: {len(lines) - len(records)} of {len(lines)} requests failed; they are left out", file=sys.stderr)
    order = np.lexsort((number, queued))
    start = queued.min()
    return (*(column[order] - start for column in (queued, first, last)), *(c[order] for c in (prompt, output, number)))


def _load(path: Path) -> dict[str, Float64]:
    if not is_there(path):
        return {}
    try:
        rows = list(csv.DictReader(read_text(path).splitlines()))
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else {})}
    except (TypeError, ValueError, csv.Error) as error:
        raise InputError(f"is not a table of numbers: {error}", file=str(path)) from error


def _json(path: Path) -> dict[str, Any]:
    found = parse_json(read_text(path), file=str(path))
    if not isinstance(found, dict):
        raise InputError("expected an object", file=str(path))
    return found


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
