"""What each scheduler can be asked for. A design that asks for more is illegal; no setting is dropped in silence."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from simulator.inputs.errors import InputError, nearest

PLUGIN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # package:name


@dataclass(frozen=True)
class Rules:
    """policies: orders of the queue. chunks: prompts may be computed in pieces. swaps: preempted KV may wait in another memory.
    stages: runs with several pipeline stages. vllm_admission: knows vLLM's limits of admission and chunks. whole_limit: where
    prompts are not cut, all tokens of a sequence must fit the token budget (else the prompt alone)."""

    policies: tuple[str, ...] = ("fcfs", "priority")
    chunks: bool = True
    swaps: bool = True
    stages: bool = True
    vllm_admission: bool = True
    whole_limit: bool = True


VLLM = Rules()
RULES = {
    "vllm_v1": VLLM,
    "sglang": Rules(("fcfs", "lpm", "dfs-weight", "lof"), swaps=False, stages=False, vllm_admission=False),
    "tensorrt_llm": Rules(("fcfs",), swaps=False, stages=False, vllm_admission=False, whole_limit=False),
    "sarathi": VLLM,
    "static": Rules(chunks=False),
    "orca": Rules(chunks=False),
    "vllm_v0": Rules(chunks=False),
}
FAMILIES = {"vllm_v1": "vllm_v1", "sglang": "sglang", "trtllm": "tensorrt_llm"}  # an engine's own scheduler


def rules_of(scheduler: str) -> Rules:
    """The rules of a scheduler; a plug-in may be asked for anything, and refuses by itself."""
    return RULES.get(scheduler, VLLM)


def check_name(scheduler: str) -> str:
    """`scheduler` where it names one of ours or a plug-in. Raises InputError."""
    if scheduler not in RULES and not PLUGIN.fullmatch(scheduler):
        raise InputError(f"unknown scheduler '{scheduler:.60}'; {nearest(scheduler, RULES)}, or package:name of your own",
                         key="scheduler")
    return scheduler


def check(settings: Any, stages: int, said: Collection[str]) -> None:
    """Raises InputError for the first setting that the scheduler cannot follow.

    settings: a design's `Serving`, or the limits that follow from it, whose names are the same. stages: of the pipeline. said:
    settings that somebody chose; those of admission are looked at where they were.
    """
    name, rules = settings.scheduler, rules_of(check_name(settings.scheduler))
    if ":" in name:
        plugin(name)
    if settings.policy not in rules.policies:
        raise InputError(f"{name} orders its queue by {' or '.join(rules.policies)}, not by {settings.policy}", key="policy")
    if settings.preemption != "recompute" and not rules.swaps:
        raise InputError(f"{name} computes preempted requests again: it cannot be '{settings.preemption}'", key="preemption")
    if stages > 1 and not rules.stages:
        raise InputError(f"{name} is not simulated with several pipeline stages; scheduler vllm_v1 is", key="scheduler")
    if settings.async_scheduling and stages > 1:
        raise InputError("cannot be combined with pipeline_parallel_size > 1", key="async_scheduling")
    if not rules.chunks and settings.enable_chunked_prefill and "enable_chunked_prefill" in said:
        raise InputError(f"{name} never splits a prompt: set it to false", key="enable_chunked_prefill")
    for key in ("long_prefill_token_threshold", "watermark", "scheduler_reserve_full_isl"):
        if key not in said or not getattr(settings, key):
            continue
        if not rules.vllm_admission:
            raise InputError(f"is vLLM's: {name} has no such limit; leave it out", key=key)
        if key == "long_prefill_token_threshold" and not rules.chunks:
            raise InputError(f"{name} never splits a prompt: set it to 0", key=key)


def plugin(reference: str) -> Any:
    """What `package:name` names: a scheduler's class in a module that can be imported. Raises InputError."""
    module, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InputError(f"'{module}' cannot be imported here: {error}", key="scheduler") from None
    except AttributeError:
        raise InputError(f"'{module}' has no '{name}'", key="scheduler") from None
    if not all(callable(getattr(found, method, None)) for method in ("enqueue", "schedule", "deliver")):
        raise InputError(f"'{reference}' is no scheduler: its class needs enqueue, schedule and deliver "
                         "(simulator.scheduler.policies.protocol.Policy)", key="scheduler")
    return found
