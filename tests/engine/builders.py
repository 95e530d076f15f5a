"""Small hand-made traces, limits and costs for tests."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.pricing.step import StepCosts
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.trace import Trace


def trace(*requests: tuple[int, int, int], **columns: Any) -> Trace:
    """Requests as (arrival ns, prompt tokens, output tokens)."""
    table = np.array(requests, np.int64).reshape(-1, 3)
    return Trace(table[:, 0].copy(), table[:, 1].astype(np.int32), table[:, 2].astype(np.int32), **columns)


def config(**changes: Any) -> SchedulerConfig:
    """Roomy limits: nothing binds unless a test says so."""
    limits: dict[str, Any] = {"max_num_seqs": 8, "max_num_batched_tokens": 256, "block_size": 4,
                              "num_gpu_blocks": 1001, "max_model_len": 128}
    return SchedulerConfig(**limits | changes)


def affine_costs(max_tokens: int = 256, max_seqs: int = 8, *, base: int = 100, token: int = 0, kv: int = 0,
                 stages: int = 1, **changes: Any) -> StepCosts:
    """A step takes base + token * new tokens + kv * KV tokens read or written, in ns, split evenly over stages."""
    linear = base + token * np.arange(max_tokens + 1, dtype=np.int64)
    linear[0] = 0
    knots = np.array([0.0, 1000.0])
    costs = StepCosts(
        linear_ns=linear,
        decode_ns=kv * np.arange(max_seqs + 1.0)[:, None] * knots[None, :],
        decode_spread_ns=np.zeros(max_seqs + 1),
        channels=0, channel_request_ns=0.0, channel_token_ns=0.0,
        prefill_ns=kv * (knots[:, None] + knots[None, :]),
        chunk_knots=knots, context_knots=knots,
        stage_layers=np.ones(stages, np.int64),
        stage_tokens_ns=np.zeros((stages, max_tokens + 1), np.int64),
        stage_sequences_ns=np.zeros((stages, max_seqs + 1), np.int64),
        host_ns=np.zeros(max_seqs + 1, np.int64),
    )
    return dataclasses.replace(costs, **changes)


def oracle_folder(name: str = "vllm_scheduler") -> Path:
    """A folder of recorded scheduler scenarios; skips the test where they are not at hand, fails it under CI."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("LLMSIM_SHARED", root.parent / "shared")) / "oracle" / name
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI needs the recorded scenarios at {folder} (LLMSIM_SHARED)")
        pytest.skip(f"no recorded scenarios at {folder}; set LLMSIM_SHARED")
    return folder
