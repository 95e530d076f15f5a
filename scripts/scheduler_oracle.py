"""The format of recorded scheduler scenarios: they are read into engine inputs, and engine results written as answers.

Format: scenarios recorded from vLLM's own scheduler (`../shared/oracle/vllm_scheduler/README.md`), with KV groups
(`vllm_kv_groups`) or speculation (`vllm_spec_decode`). A key that is not known is refused: it may change the answer.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from simulator.pricing.step import StepCosts
from simulator.scheduler.acceptance import RecordedAcceptance
from simulator.scheduler.config import KvGroupConfig, SchedulerConfig, SpeculationConfig
from simulator.workload.trace import PRIVATE_STREAM, Segments, Trace

Json = dict[str, Any]

KINDS = {"full": "full", "sliding": "window", "chunked": "chunk", "mamba": "state"}
SPANS = {"sliding": "window", "chunked": "chunk"}  # kind -> the key of its length
# Keys that a scenario may have, by part
SCENARIO = ("name", "seed", "tags", "scheduler", "latency", "requests")  # seed and tags say how it was drawn
LATENCY = ("base_ns", "per_new_token_ns", "per_kv_token_ns")
REQUESTS = ("arrival_ns", "prompt_tokens", "output_tokens", "priority", "segments", "accept", "draft_len")
SPEC = ("method", "k", "mtp_layers", "parallel")
LIMITS = tuple(field.name for field in fields(SchedulerConfig) if field.name not in (
    "scheduler", "preemption", "kv_groups", "speculation", "prefix_cache_retention_interval"))


def load(directory: Path) -> list[tuple[Json, Json]]:
    """(scenario, answer) pairs of a folder. Raises InputError where a file is missing, broken or of another length."""
    tables = []
    for name in ("scenarios.json.gz", "answers.json.gz"):
        file = directory / name
        try:
            tables.append(json.loads(gzip.decompress(file.read_bytes())))
        except FileNotFoundError:
            raise InputError("no such file; give a folder in the scheduler oracle's format", file=str(file)) from None
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"is not gzipped JSON: {error}", file=str(file)) from error
    if len(tables[0]) != len(tables[1]):
        raise InputError(f"{len(tables[0])} scenarios but {len(tables[1])} answers", file=str(directory))
    return list(zip(*tables, strict=True))


def _check_keys(scenario: Json) -> None:
    """Raises InputError for a key of a scenario that this reader does not know."""
    _known(scenario, SCENARIO, "")
    _known(scenario["scheduler"], (*LIMITS, "kv_groups", "retention", "spec"), "scheduler.")
    _known(scenario["latency"], LATENCY, "latency.")
    _known(scenario["requests"], REQUESTS, "requests.")
    _known(scenario["scheduler"].get("spec") or {}, SPEC, "scheduler.spec.")


def config_of(scenario: Json) -> SchedulerConfig:
    """Scheduler limits of a scenario; the names are the same. Raises InputError for keys that are not known and for KV groups that
    contradict the limits."""
    _check_keys(scenario)
    limits = scenario["scheduler"]
    return SchedulerConfig(**{key: value for key, value in limits.items() if key in LIMITS},
                           kv_groups=tuple(_group(group, limits) for group in limits.get("kv_groups") or ()),
                           prefix_cache_retention_interval=limits.get("retention", 0), speculation=_speculation(scenario))


def _group(group: Json, limits: Json) -> KvGroupConfig:
    kind = group["kind"]
    if kind not in KINDS:
        raise InputError(f"no kind {kind!r} is known", key="scheduler.kv_groups.kind")
    if kind == "mamba":
        mode, drafts = "align" if limits["enable_prefix_caching"] else "none", (limits.get("spec") or {}).get("k", 0)
        if group["mode"] != mode or group.get("spec_blocks", 0) != drafts:
            raise InputError(f"expected mode {mode} and {drafts} spec_blocks, these limits imply them: {group}",
                             key="scheduler.kv_groups")
        _known(group, ("kind", "block_size", "mode", "spec_blocks"), "scheduler.kv_groups.")
        return KvGroupConfig("state", group["block_size"])
    _known(group, ("kind", "block_size", *([SPANS[kind]] if kind in SPANS else [])), "scheduler.kv_groups.")
    return KvGroupConfig(KINDS[kind], group["block_size"], group[SPANS[kind]] if kind in SPANS else 0)


def _speculation(scenario: Json) -> SpeculationConfig | None:
    spec, requests = scenario["scheduler"].get("spec"), scenario["requests"]
    if not spec:
        return None
    proposed = requests.get("draft_len")
    acceptance = RecordedAcceptance(tuple(map(tuple, requests["accept"])), proposed and tuple(map(tuple, proposed)))
    return SpeculationConfig(spec["method"], spec["k"], acceptance, spec.get("mtp_layers", 1), spec.get("parallel", False))


def _known(found: Json, keys: tuple[str, ...], where: str) -> None:
    if unknown := sorted(found.keys() - set(keys)):
        raise InputError(f"this reader knows no such key; it knows {', '.join(keys)}", key=where + unknown[0])


def trace_of(scenario: Json) -> Trace:
    """Requests of a scenario. Absent segments mean private prompts."""
    columns = scenario["requests"]
    priority, segments = columns.get("priority"), columns.get("segments")
    return Trace(
        arrival_ns=np.array(columns["arrival_ns"], np.int64),
        prompt_tokens=np.array(columns["prompt_tokens"], np.int32),
        output_tokens=np.array(columns["output_tokens"], np.int32),
        priority=None if priority is None else np.array(priority, np.int32),
        segments=None if segments is None else _segments(segments, columns["prompt_tokens"]),
    )


def costs_of(scenario: Json) -> StepCosts:
    """Tables that give base + per_new_token * N + per_kv_token * K for every batch with tokens, split evenly over
    the stages: one decode of context c costs per_kv_token * c, a chunk per_kv_token * (context + chunk)."""
    latency, limits = scenario["latency"], scenario["scheduler"]
    tokens, sequences = limits["max_num_batched_tokens"] + 1, limits["max_num_seqs"] + 1
    stages = limits["pipeline_parallel_size"]
    linear = latency["base_ns"] + latency["per_new_token_ns"] * np.arange(tokens, dtype=np.int64)
    linear[0] = 0
    knots = np.array([0.0, float(limits["max_model_len"])])
    batch = np.arange(sequences, dtype=np.float64)
    return StepCosts(
        linear_ns=linear,
        decode_ns=latency["per_kv_token_ns"] * batch[:, None] * knots[None, :],
        decode_spread_ns=np.zeros(sequences),
        channels=0, channel_request_ns=0.0, channel_token_ns=0.0,
        prefill_ns=latency["per_kv_token_ns"] * (knots[:, None] + knots[None, :]),
        chunk_knots=knots, context_knots=knots,
        stage_layers=np.ones(stages, np.int64),
        stage_tokens_ns=np.zeros((stages, tokens), np.int64),
        stage_sequences_ns=np.zeros((stages, sequences), np.int64),
        host_ns=np.zeros(sequences, np.int64),
    )


def answer_of(result: EngineResult) -> Json:
    """The answer's columns of a run with a log."""
    log = result.log
    assert log is not None, "run the engine with log=True"
    more = {"computed": log.batch_computed, "drafts": log.batch_drafts, "out": log.batch_outputs}
    return {
        "batch": {"req": log.batch_request.tolist(), "new": log.batch_new_tokens.tolist()} | {
            key: column.tolist() for key, column in more.items() if column is not None},
        "admissions": log.admissions.tolist(),
        "preempted": log.preempted.tolist(),
        "iterations": {
            "t_sched": log.scheduled_ns.tolist(), "t_start": log.start_ns.tolist(), "t_end": log.end_ns.tolist(),
            "n": log.n.tolist(), "free": log.free_blocks.tolist(), "waiting": log.waiting.tolist(),
            "running": log.running.tolist(),
        } | ({} if log.held is None else {"held": log.held.tolist()}),
        "requests": {
            "first_scheduled_ns": result.first_scheduled_ns.tolist(),
            "first_token_ns": result.first_token_ns.tolist(),
            "finish_ns": result.finish_ns.tolist(),
            "preemptions": result.preemptions.tolist(),
            "cached_tokens": result.cached_tokens.tolist(),
        },
    }


def first_difference(answer: Json, mine: Json) -> str | None:
    """Where two answers first differ, in words; None if they are identical. Decisions are compared before times. Every recorded
    column must be matched."""
    for part in ("batch", "iterations", "requests"):
        if missing := sorted(answer[part].keys() - mine[part].keys()):
            return f"{part}.{missing[0]} was recorded, the engine does not log it"
    theirs, ours = _batches(answer), _batches(mine)
    for step in range(max(len(theirs), len(ours))):
        if step >= len(theirs) or step >= len(ours):
            return f"{len(theirs)} steps were recorded, the engine took {len(ours)}"
        if theirs[step] != ours[step]:
            return (f"step {step}: the batch [(request, new tokens)] was {_short(theirs[step])}, "
                    f"the engine chose {_short(ours[step])}")
    for key, words in (("admissions", "[step, request, cached tokens] of admission"),
                       ("preempted", "[step, request] of preemption")):
        if found := _unequal(answer[key], mine[key]):
            return f"{words} {found}"
    for part, of in (("batch", "entry"), ("iterations", "step"), ("requests", "request")):
        for key, column in answer[part].items():
            if found := _unequal(column, mine[part][key]):
                return f"{key} of {of} {found}"
    return None


def _batches(answer: Json) -> list[list[tuple[int, int]]]:
    entries = list(zip(answer["batch"]["req"], answer["batch"]["new"], strict=True))
    ends = np.cumsum(answer["iterations"]["n"], dtype=np.int64).tolist()
    return [entries[end - n:end] for n, end in zip(answer["iterations"]["n"], ends, strict=True)]


def _unequal(theirs: list[Any], ours: list[Any]) -> str | None:
    for k, (a, b) in enumerate(zip(theirs, ours, strict=False)):
        if a != b:
            return f"{k}: recorded {a}, the engine {b}"
    return None if len(theirs) == len(ours) else f"{min(len(theirs), len(ours))}: {len(theirs)} against {len(ours)}"


def _short(entries: list[tuple[int, int]]) -> str:
    return str(entries[:6])[:-1] + (f", ... {len(entries)} in all]" if len(entries) > 6 else "]")


def _segments(segments: list[list[list[int]] | None], prompts: list[int]) -> Segments:
    rows, offsets = [], [0]
    for i, pieces in enumerate(segments):
        rows += pieces or [[PRIVATE_STREAM + i, prompts[i]]]
        offsets.append(len(rows))
    table = np.array(rows, np.int64).reshape(-1, 2)
    return Segments(np.array(offsets, np.int64), table[:, 0].copy(), np.zeros(len(rows), np.int64),
                    table[:, 1].copy())
