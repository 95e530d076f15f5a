"""The checks of a scheduler's limits: configurations vLLM would not start with, and requests that could never be served."""

from __future__ import annotations

import numpy as np

from simulator.design.scheduler_rules import RULES, check, rules_of
from simulator.inputs.errors import InputError, nearest
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_blocks import blocks_for
from simulator.workload.trace import Int64, Trace

WHOLE_PROMPTS = tuple(name for name, rules in RULES.items() if not rules.chunks)  # policies that never split a prompt


def check_config(config: SchedulerConfig) -> None:
    """Raises InputError for limits that vLLM refuses at start-up (rule 3 of the specification) or that contradict."""
    check(config, config.pipeline_parallel_size, ("long_prefill_token_threshold", "watermark"))
    if config.preemption not in ("recompute", "swap"):
        raise InputError(nearest(config.preemption, ("recompute", "swap")), key="preemption")
    for key in ("max_num_seqs", "max_num_batched_tokens", "block_size", "pipeline_parallel_size"):
        if getattr(config, key) < 1:
            raise InputError("must be at least 1", key=key)
    if config.num_gpu_blocks < 2:
        raise InputError("needs at least 2: one is the null block, which is never used", key="num_gpu_blocks")
    if config.max_model_len < 2:
        raise InputError("needs at least 2: one prompt token and one output token", key="max_model_len")
    if config.max_num_batched_tokens < config.max_num_seqs:
        raise InputError(f"must be at least max_num_seqs ({config.max_num_seqs})", key="max_num_batched_tokens")
    whole = config.scheduler in WHOLE_PROMPTS
    rules = rules_of(config.scheduler)
    if rules.whole_limit and (whole or not config.enable_chunked_prefill) and (
            config.max_num_batched_tokens < config.max_model_len):
        raise InputError(f"must be at least max_model_len ({config.max_model_len}) where prompts are not chunked",
                         key="max_num_batched_tokens")
    if not 0 <= config.long_prefill_token_threshold <= config.max_model_len:
        raise InputError(f"must be from 0 to max_model_len ({config.max_model_len})",
                         key="long_prefill_token_threshold")
    if not 0 <= config.watermark < 1:
        raise InputError("must be a fraction, at least 0 and below 1", key="watermark")
    if config.scheduler == "tensorrt_llm" and config.tensorrt_llm.chunk_unit > config.max_num_batched_tokens:
        raise InputError(f"must be at least a chunk's unit ({config.tensorrt_llm.chunk_unit})", key="max_num_batched_tokens")
    if config.scheduler == "orca" and blocks_for(config.max_model_len, config.block_size) > config.num_gpu_blocks - 1:
        raise InputError(f"orca reserves max_model_len ({config.max_model_len}) tokens per request, more than the "
                         f"KV cache holds", key="num_gpu_blocks")


def check_trace(trace: Trace) -> None:
    """Raises InputError for requests without tokens and for arrivals that go back in time."""
    for key in ("prompt_tokens", "output_tokens"):
        if np.any(getattr(trace, key) < 1):
            raise InputError("every request needs at least one", key=key)
    arrival = trace.arrival_ns
    if len(arrival) and (arrival[0] < 0 or np.any(arrival[1:] < arrival[:-1])):
        raise InputError("must be ascending and not negative", key="arrival_ns")


def served_outputs(trace: Trace, config: SchedulerConfig) -> Int64:
    """Output tokens that each request will get, [n]; 0: the request is rejected on arrival.

    Generation ends when prompt + outputs reach max_model_len. As vLLM's front end does, a prompt that leaves no room
    for one output token is rejected; so is a request whose last block would not fit an otherwise empty KV cache
    (vLLM avoids the latter by refusing to start unless max_model_len fits). SGLang keeps a page free beyond prompt and
    outputs (its engine would cut the outputs instead), TensorRT-LLM counts the last output's token, and takes no prompt that
    it could not compute in one step where chunking is off.
    """
    prompt = trace.prompt_tokens.astype(np.int64)
    outputs = np.minimum(trace.output_tokens, config.max_model_len - prompt)
    most, page = (config.num_gpu_blocks - 1) * config.block_size, config.block_size
    held = prompt + outputs - 1
    if config.scheduler == "sglang":
        held = blocks_for(prompt, page) * page + outputs + page + 1
    elif config.scheduler == "tensorrt_llm":
        held = prompt + outputs
    fits = (outputs >= 1) & (held <= most)
    if config.scheduler == "tensorrt_llm" and not config.enable_chunked_prefill:
        paused = config.tensorrt_llm.capacity == "max_utilization"  # and then computed again with its outputs
        fits &= prompt + (outputs if paused else 0) <= config.max_num_batched_tokens
    return np.where(fits, outputs, 0).astype(np.int64)


def most_idle_preemptions(config: SchedulerConfig) -> int:
    """Preemptions in a row, no output token delivered in between, after which a run is given up as a livelock.

    vLLM can fall into one: under `policy="priority"` two requests of equal priority and arrival time preempt each
    other endlessly while both are in mid-prompt (each time the one admitted first is the victim). Without a livelock
    somebody's prompt is finished within max_model_len tokens, each of which preempts hardly more than once.
    """
    return 8 * (config.max_model_len + config.max_num_seqs)
