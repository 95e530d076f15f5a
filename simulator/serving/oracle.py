"""The scheduler oracle's format: scenarios into engine inputs, engine results into answers.

Format: scenarios recorded from vLLM's own scheduler (`../shared/oracle/vllm_scheduler/README.md`).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from simulator.costs.step import StepCosts
from simulator.serving.config import PRIVATE_STREAM, EngineResult, SchedulerConfig, Segments, Trace

Json = dict[str, Any]


def config_of(scenario: Json) -> SchedulerConfig:
    """Scheduler limits of a scenario; the names are the same."""
    known = {field.name for field in fields(SchedulerConfig)}
    return SchedulerConfig(**{key: value for key, value in scenario["scheduler"].items() if key in known})


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
    return {
        "batch": {"req": log.batch_request.tolist(), "new": log.batch_new_tokens.tolist()},
        "admissions": log.admissions.tolist(),
        "preempted": log.preempted.tolist(),
        "iterations": {
            "t_sched": log.scheduled_ns.tolist(), "t_start": log.start_ns.tolist(), "t_end": log.end_ns.tolist(),
            "n": log.n.tolist(), "free": log.free_blocks.tolist(), "waiting": log.waiting.tolist(),
            "running": log.running.tolist(),
        },
        "requests": {
            "first_scheduled_ns": result.first_scheduled_ns.tolist(),
            "first_token_ns": result.first_token_ns.tolist(),
            "finish_ns": result.finish_ns.tolist(),
            "preemptions": result.preemptions.tolist(),
            "cached_tokens": result.cached_tokens.tolist(),
        },
    }


def _segments(segments: list[list[list[int]] | None], prompts: list[int]) -> Segments:
    rows, offsets = [], [0]
    for i, pieces in enumerate(segments):
        rows += pieces or [[PRIVATE_STREAM + i, prompts[i]]]
        offsets.append(len(rows))
    table = np.array(rows, np.int64).reshape(-1, 2)
    return Segments(np.array(offsets, np.int64), table[:, 0].copy(), np.zeros(len(rows), np.int64),
                    table[:, 1].copy())
