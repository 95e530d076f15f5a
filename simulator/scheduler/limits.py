"""The checks of a scheduler's limits: configurations vLLM would not start with, and requests that could never be served."""

from __future__ import annotations

from itertools import pairwise
from math import lcm

import numpy as np

from simulator.inputs.errors import InputError, nearest
from simulator.scheduler.acceptance import DrawnAcceptance
from simulator.scheduler.config import KvGroupConfig, SchedulerConfig, SpeculationConfig
from simulator.scheduler.kv_blocks import blocks_for
from simulator.scheduler.speculation import METHODS, SYNCHRONOUS, reserved
from simulator.scheduler.windows import most_blocks
from simulator.workload.trace import Int64, Trace

KINDS = ("full", "window", "chunk", "state")
WHOLE_PROMPTS = ("static", "orca", "vllm_v0")  # policies that never split a prompt
SCHEDULER_NAMES = ("vllm_v1", "sarathi", *WHOLE_PROMPTS)


def check_config(config: SchedulerConfig) -> None:
    """Raises InputError for limits that vLLM refuses at start-up (rule 3 of the specification) or that contradict."""
    if config.scheduler not in SCHEDULER_NAMES:
        raise InputError(nearest(config.scheduler, SCHEDULER_NAMES), key="scheduler")
    if config.policy not in ("fcfs", "priority"):
        raise InputError(nearest(config.policy, ("fcfs", "priority")), key="policy")
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
    if (whole or not config.enable_chunked_prefill) and config.max_num_batched_tokens < config.max_model_len:
        raise InputError(f"must be at least max_model_len ({config.max_model_len}) where prompts are not chunked",
                         key="max_num_batched_tokens")
    if not 0 <= config.long_prefill_token_threshold <= config.max_model_len:
        raise InputError(f"must be from 0 to max_model_len ({config.max_model_len})",
                         key="long_prefill_token_threshold")
    if whole and config.long_prefill_token_threshold:
        raise InputError(f"{config.scheduler} never splits a prompt: set it to 0", key="long_prefill_token_threshold")
    if not 0 <= config.watermark < 1:
        raise InputError("must be a fraction, at least 0 and below 1", key="watermark")
    if config.async_scheduling and config.pipeline_parallel_size > 1:
        raise InputError("cannot be combined with pipeline_parallel_size > 1", key="async_scheduling")
    for group in config.kv_groups:
        _check_group(group, config)
    interval = config.prefix_cache_retention_interval
    if interval is not None and (interval < 0 or interval % lcm(*(group.block_size for group in config.groups))):
        raise InputError("must be null, 0 or a multiple of every KV group's block size", key="prefix_cache_retention_interval")
    if interval and not any(group.kind in ("window", "state") for group in config.kv_groups):
        raise InputError("without window and state groups all blocks are kept: set it to 0", key="prefix_cache_retention_interval")
    if config.speculation is not None:
        _check_speculation(config.speculation, config)
    if config.preemption == "swap" and (config.kv_groups or config.speculation):
        raise InputError("swap is modelled for one full KV group without speculation only: use recompute", key="preemption")
    if config.scheduler == "orca" and blocks_for(config.max_model_len, config.block_size) > config.num_gpu_blocks - 1:
        raise InputError(f"orca reserves max_model_len ({config.max_model_len}) tokens per request, more than the "
                         f"KV cache holds", key="num_gpu_blocks")


def _check_group(group: KvGroupConfig, config: SchedulerConfig) -> None:
    if group.kind not in KINDS:
        raise InputError(nearest(group.kind, KINDS), key="kv_groups")
    if group.block_size < 1:
        raise InputError("block_size must be at least 1", key="kv_groups")
    if group.kind in ("window", "chunk") and group.span < 2:
        raise InputError(f"a {group.kind} spans at least 2 tokens", key="kv_groups")
    if group.kind in ("full", "state") and group.span:
        raise InputError(f"a {group.kind} group has no span", key="kv_groups")
    if group.kind != "state" or not config.enable_prefix_caching:
        return
    if not config.enable_chunked_prefill or config.scheduler in WHOLE_PROMPTS:
        raise InputError("states with prefix caching need chunked prefill: a chunk ends where a state is kept (vLLM's \"align\")",
                         key="enable_chunked_prefill")
    if any(other.block_size != group.block_size for other in config.kv_groups):
        raise InputError("states with prefix caching need one block size in all groups", key="kv_groups")
    if config.speculation is not None:
        raise InputError("states with prefix caching beside speculation are not modelled: switch one of them off",
                         key="enable_prefix_caching")


def _check_speculation(speculation: SpeculationConfig, config: SchedulerConfig) -> None:
    if speculation.method not in METHODS:
        raise InputError(nearest(speculation.method, METHODS), key="speculation.method")
    if config.scheduler != "vllm_v1":
        raise InputError(f"{config.scheduler} does not speculate: use vllm_v1", key="scheduler")
    for key in ("tokens", "modules"):
        if getattr(speculation, key) < 1:
            raise InputError("must be at least 1", key=f"speculation.{key}")
    if speculation.modules > 1 and speculation.method != "mtp":
        raise InputError("only mtp drafters have several modules", key="speculation.modules")
    if speculation.parallel and speculation.method in (*SYNCHRONOUS, "dflash"):
        raise InputError(f"{speculation.method} has no choice of it: leave it out", key="speculation.parallel")
    unit = lcm(*(group.block_size for group in config.groups))
    if config.enable_prefix_caching and reserved(speculation).reads_ahead > unit:
        raise InputError(f"a drafter that reads {reserved(speculation).reads_ahead} tokens ahead needs blocks of as many with "
                         f"prefix caching, they have {unit}", key="speculation.modules")
    if config.async_scheduling and speculation.method in SYNCHRONOUS:
        raise InputError(f"{speculation.method} proposes on the host and needs async_scheduling off", key="async_scheduling")
    if 0 < config.long_prefill_token_threshold <= speculation.tokens:
        raise InputError(f"must be 0 or above the draft tokens ({speculation.tokens}): vLLM fails on it",
                         key="long_prefill_token_threshold")
    if config.max_num_batched_tokens <= reserved(speculation).drafting:
        raise InputError(f"leaves no token beside the drafter's {reserved(speculation).drafting}", key="max_num_batched_tokens")
    if reserved(speculation).drops_last and any(group.kind == "chunk" for group in config.kv_groups):
        raise InputError("beside such a drafter vLLM keeps all tokens of chunked layers: make their groups full", key="kv_groups")
    acceptance = speculation.acceptance
    if isinstance(acceptance, DrawnAcceptance):
        shares = acceptance.at_least
        if len(shares) > speculation.tokens or any(not 0 <= b <= a for a, b in pairwise((1.0, *shares))):
            raise InputError(f"needs at most {speculation.tokens} probabilities from 1 to 0, none above the one before",
                             key="speculation.acceptance")


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
    (vLLM avoids the latter by refusing to start unless max_model_len fits).
    """
    prompt = trace.prompt_tokens.astype(np.int64)
    outputs = np.minimum(trace.output_tokens, config.max_model_len - prompt)
    fits = (outputs >= 1) & (_most_held(prompt + outputs - 1, config) <= config.num_gpu_blocks - 1)
    return np.where(fits, outputs, 0).astype(np.int64)


def _most_held(tokens: Int64, config: SchedulerConfig) -> Int64:
    """KV blocks that requests of so many computed tokens hold at most, all groups together: of drafts checked in vain and the
    drafter's look-ahead, too, and within windows only what one request ever holds (S5, G6)."""
    if config.speculation:
        beyond = config.draft_tokens * (2 if config.async_scheduling else 1) + reserved(config.speculation).lookahead
        tokens = np.minimum(tokens + beyond, config.max_model_len)
    total = np.zeros(len(tokens), np.int64)
    for group in config.groups:
        total += np.minimum(blocks_for(tokens, group.block_size) + (config.draft_tokens if group.kind == "state" else 0),
                            most_blocks(group, config))
    return total


def most_idle_preemptions(config: SchedulerConfig) -> int:
    """Preemptions in a row, no output token delivered in between, after which a run is given up as a livelock.

    vLLM can fall into one: under `policy="priority"` two requests of equal priority and arrival time preempt each
    other endlessly while both are in mid-prompt (each time the one admitted first is the victim). Without a livelock
    somebody's prompt is finished within max_model_len tokens, each of which preempts hardly more than once.
    """
    return 8 * (config.max_model_len + config.max_num_seqs)
