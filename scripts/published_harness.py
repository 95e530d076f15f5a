"""How published points were measured: clients, lengths, flags, and what of it cannot be simulated; read from the row's own text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.published import SkipError, engine_of

# Standard deviation over mean of ShareGPT's prompts and outputs as serving benchmarks draw them (our estimate: pages give means)
SHAREGPT_CV = (1.3, 1.0)
# Prompts of ML.ENERGY's tasks are not published: about 500 tokens fit its batches (the data's own README)
MLENERGY_PROMPT = 500
# Of sources that do not say their engine's version: GPUStack's scripts ask for --async-scheduling, on by itself since 0.14, and
# date from after 0.10 (gpt-oss); used for the record, not for judging
UNSTATED = {"gpustack/gpustack": (0, 11), "argonne-lcf/LLM-Inference-Bench": (0, 3)}
# NVIDIA's perf-overview pages, "llm_options.yml": graphs of these batches, padded between them; prompts are chunked
TRTLLM_BENCH = {"graph_padding": True, "graphs": {
    "largest": [{"value": 384}], "padded_sizes": [[n, n, 1] for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 384)]}}
TURNS_PER_CLIENT = 10  # requests of a client where their number is not stated: what `vllm bench serve` recipes ask for
# What changes the answer and is not modelled here: text in the notes or the framework, in lower case
UNMODELLED = {
    "speculation": ("mtp", "speculat", "eagle"), "prefill and decode apart": ("disaggregated", "1p1d", "p/d"),
    "context parallelism": ("-dcp", "decode context parallel"), "images": ("images", "image"),
    "another attention kernel": ("--attention-backend", "hpc-ops backend"), "no chunked prefill": ("no chunked prefill",),
    "latency by layer": ("no server",),
}
FLAGS = {"max-model-len": "max_model_len", "gpu-memory-utilization": "memory_utilization", "max-num-seqs": "max_num_seqs",
         "max-num-batched-tokens": "max_num_batched_tokens", "block-size": "block_size", "max_seq_len": "max_model_len",
         "mem-fraction-static": "memory_utilization", "chunked-prefill-size": "max_num_batched_tokens",
         "max-running-requests": "max_num_seqs"}
SWITCHES = {"async-scheduling": ("async_scheduling", True), "no-enable-prefix-caching": ("enable_prefix_caching", False),
            "enable_chunked_prefill": ("enable_chunked_prefill", True), "enforce-eager": ("cuda_graphs", False),
            "disable-cuda-graph": ("cuda_graphs", False), "disable-radix-cache": ("enable_prefix_caching", False)}


@dataclass(frozen=True)
class Measured:
    """clients: in flight at once; requests: in all. rate_per_s: of arrivals, where they do not wait for answers. prefill_in_tpot:
    `tpot` is a batch's whole time over its output length. online: through a server's front end. version: of the record to
    take; stated: whether the source says it."""

    family: str
    version: tuple[int, ...] | None
    stated: bool
    clients: int
    requests: int
    rate_per_s: float | None
    prompt: float
    output: float
    sharegpt: bool
    prefill_in_tpot: bool
    online: bool
    serving: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)

    def lengths(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Prompt and output tokens of every request."""
        drawn = [np.full(self.requests, max(round(mean), 1)) if not self.sharegpt else _lognormal(mean, cv, self.requests, seed)
                 for seed, (mean, cv) in enumerate(zip((self.prompt, self.output), SHAREGPT_CV, strict=True))]
        return drawn[0].astype(np.int32), drawn[1].astype(np.int32)


def measured_of(point: dict[str, str]) -> Measured:
    """What a row says. Raises SkipError for what it leaves out or is not modelled."""
    notes = point["notes"].lower()
    _refuse_unmodelled(f"{point['framework'].lower()}; {notes}")
    family, version = engine_of(f"{point['framework']}; {point['source']}")
    named = re.search(r"\(v(\d+(?:\.\d+)+)", point["source"])
    if version is None and named:
        version = tuple(int(part) for part in named[1].split("."))
    stated = version is not None
    if version is None:
        version = next((v for source, v in UNSTATED.items() if point["source"].startswith(source) and family == "vllm"), None)
    serving, engine = _flags(notes), dict[str, Any]()
    prompt, output = _tokens(point, "isl"), _tokens(point, "osl")
    if "ml.energy" in point["source"].lower():
        prompt, serving = prompt or MLENERGY_PROMPT, {**serving, **_mlenergy(notes)}
    if prompt is None or output is None:
        raise SkipError("lengths not stated")
    batch = "static batch" in notes
    offline = batch or "trtllm-bench" in notes or "benchmark_latency" in notes
    if offline and family == "vllm":
        engine["context"] = "offline"
    if "trtllm-bench" in notes:
        engine |= TRTLLM_BENCH
        serving["enable_chunked_prefill"] = True
    clients, requests, rate = _load(point, notes, batch=batch)
    if batch:
        serving.setdefault("max_num_seqs", max(clients, 1))
        if serving["max_num_seqs"] > 1024:
            serving.setdefault("max_num_batched_tokens", max(8192, clients))
    return Measured(family, version, stated, clients, requests, rate, prompt, output, sharegpt="sharegpt" in notes,
                    prefill_in_tpot="prefill included" in notes, online=not offline, serving=serving, engine=engine)


def _refuse_unmodelled(text: str) -> None:
    for reason, words in UNMODELLED.items():
        if any(word in text for word in words):
            raise SkipError(reason)


def _tokens(point: dict[str, str], column: str) -> float | None:
    try:
        return float(point[column])
    except ValueError:
        return None


def _flags(notes: str) -> dict[str, Any]:
    """Serving settings that a quoted command sets."""
    serving: dict[str, Any] = {}
    for flag, key in FLAGS.items():
        found = re.search(rf"--{flag}[ =](\d*\.?\d+)", notes)
        if found:
            serving[key] = float(found[1]) if "." in found[1] else int(found[1])
    for flag, (key, value) in SWITCHES.items():
        if re.search(rf"--{flag}\b(?!-)", notes):
            serving[key] = value
    if "no prefix caching" in notes:
        serving["enable_prefix_caching"] = False
    return serving


def _mlenergy(notes: str) -> dict[str, Any]:
    found = re.search(r"max_num_seqs (\d+)", notes)
    slots = {"max_num_seqs": int(found[1])} if found else {}
    return {**slots, "async_scheduling": True, "max_num_batched_tokens": max(8192, slots.get("max_num_seqs", 0))}


def _load(point: dict[str, str], notes: str, *, batch: bool) -> tuple[int, int, float | None]:
    """(clients in flight, requests in all, arrivals a second)."""
    said = point["concurrency"].strip()
    by_length = re.search(rf"\b{point['isl']}/{point['osl']}:(\d+)", notes)
    told = by_length or re.search(r"\b(\d+) (?:requests|prompts|sharegpt prompts)\b", notes)
    if told is None:
        told = re.search(r"sharegpt (\d+) prompts", notes)
    requests = int(told[1]) if told else None
    if said:
        if not re.fullmatch(r"\d+(\.\d+)?", said):
            raise SkipError("clients not stated")
        clients = max(round(float(said)), 1)
        slots = re.search(r"max_num_seqs (\d+)", notes)
        if slots:  # the mean running batch is given: clients keep all slots filled
            clients = int(slots[1])
        count = clients if batch else max(requests or TURNS_PER_CLIENT * clients, clients)
        return clients, min(count, 4 * clients) if slots else count, None
    rate = point["request_rate"].strip()
    if requests is None:
        raise SkipError("number of requests not stated")
    if rate == "inf" or (rate.isdigit() and int(rate) >= requests):
        return requests, requests, None
    if not re.fullmatch(r"\d+(\.\d+)?", rate):
        raise SkipError("load not stated")
    return requests, requests, float(rate)


def _lognormal(mean: float, cv: float, count: int, seed: int) -> NDArray[np.float64]:
    sigma2 = np.log(1 + cv * cv)
    drawn = np.random.default_rng((0, seed)).lognormal(np.log(mean) - sigma2 / 2, np.sqrt(sigma2), count)
    return np.maximum(np.rint(drawn * (mean / drawn.mean())), 1)
