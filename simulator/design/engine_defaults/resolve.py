"""A design with its engine's defaults filled in, and where each value came from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from simulator.design.design import Design
from simulator.design.engine_defaults.graphs import graph_cover
from simulator.design.engine_defaults.host import host_of
from simulator.design.engine_defaults.kv import block_tokens, memory_fraction, prefix_caching
from simulator.design.engine_defaults.limits import limits
from simulator.design.engine_defaults.situation import Situation, situation_of
from simulator.design.engine_defaults.switches import async_scheduling
from simulator.design.records.engine import EngineRecord
from simulator.design.records.serving import Serving
from simulator.design.scheduler_rules import FAMILIES, check, rules_of
from simulator.design.units import show_seconds
from simulator.inputs.errors import InputError

KERNELS = {"vllm_v1": "vllm", "sglang": "sglang", "trtllm": "trtllm"}  # whose of a GPU's measured kernels a family takes


@dataclass(frozen=True)
class Setting:
    """An effective value of a design and where it came from: `set`, or the engine's record."""

    key: str
    value: object
    origin: str


def resolved(design: Design) -> Design:
    """`design` with every serving setting that it leaves open as its engine's record and its scheduler have it; unchanged without
    an engine under vLLM's scheduler.

    Raises InputError for limits that no engine starts with, and for what the scheduler cannot follow.
    """
    if design.engine is not None:
        design = _with_defaults(design, design.engine)
    elif own := _scheduler_defaults(design.serving.scheduler, design.serving.model_fields_set):
        said = set(design.serving.model_fields_set)
        serving = design.serving.model_copy(update=own)
        design = design.model_copy(update={"serving": Serving.model_construct(_fields_set=said, **dict(serving))})
    serving = design.serving
    try:
        check(serving, design.parallelism.pipeline, serving.model_fields_set)
    except InputError as error:
        raise error.within(prefix="serving") from None
    if serving.max_num_batched_tokens < serving.max_num_seqs:
        raise InputError(f"max_num_batched_tokens ({serving.max_num_batched_tokens}) must be at least "
                         f"max_num_seqs ({serving.max_num_seqs})", key="serving")
    return design


def settings(design: Design) -> list[Setting]:
    """Every effective setting of a design that names an engine, in the order of its sections; empty without an engine."""
    record = design.engine
    if record is None:
        return []
    said, host = design.serving.model_fields_set, host_of(design)
    found = [Setting(f"serving.{key}", getattr(design.serving, key), "set" if key in said else record.name)
             for key in Serving.model_fields if key != "swap_to" or design.serving.preemption == "swap"]
    cover = graph_cover(record, situation_of(design, record), design.serving.max_num_batched_tokens, design.serving.max_num_seqs)
    if design.serving.cuda_graphs and cover.sizes:
        found.append(Setting("graphs", f"{len(cover.sizes)} sizes to {cover.sizes[-1]}{'' if cover.pad else ', exact only'}",
                             record.name))
    found += [Setting(f"host.{name}", show_seconds(value), record.name) for name, value in (
        ("step", host.step_s), ("sequence", host.sequence_s), ("exposed step", host.device_step_s),
        ("exposed sequence", host.device_sequence_s), ("graphless layer", host.graphless_layer_s))]
    found.append(Setting("kv.rule", record.kv.rule, record.name))
    return found


def default_serving(design: Design, record: EngineRecord) -> Serving:
    """The design's serving settings, those that it leaves open as the record has them."""
    serving, of = design.serving, situation_of(design, record)
    said = serving.model_fields_set
    values: dict[str, Any] = {name: getattr(serving, name) for name in Serving.model_fields}
    values |= {key: value for key, value in _defaults(record, of, serving).items() if key not in said}
    return Serving.model_construct(_fields_set=set(said), **values)


def _with_defaults(design: Design, record: EngineRecord) -> Design:
    filled: dict[str, Any] = {"serving": default_serving(design, record)}
    hardware, kernels = design.hardware, KERNELS[record.scheduler.family]
    gpu = hardware.gpu
    if gpu is not None and "kernels" not in gpu.model_fields_set and gpu.kernels != kernels and getattr(gpu, kernels) is not None:
        changed = gpu.model_copy(update={"kernels": kernels})
        changed.model_fields_set.discard("kernels")  # chosen by the engine, not said
        filled["hardware"] = hardware.model_copy(update={"gpu": changed})
    return Design.model_construct(_fields_set=set(design.model_fields_set),
                                  **{name: filled.get(name, getattr(design, name)) for name in Design.model_fields})


def _defaults(record: EngineRecord, of: Situation, serving: Serving) -> dict[str, Any]:
    """Every serving setting of the record at this design, given those that the user sets."""
    said = serving.model_fields_set
    scheduler = serving.scheduler if "scheduler" in said else FAMILIES[record.scheduler.family]
    chunked = serving.enable_chunked_prefill if "enable_chunked_prefill" in said else (
        record.scheduler.chunked_prefill and rules_of(scheduler).chunks)
    budget, sequences = limits(record, of, chunked=chunked,
                               tokens=serving.max_num_batched_tokens if "max_num_batched_tokens" in said else None,
                               sequences=serving.max_num_seqs if "max_num_seqs" in said else None)
    return {
        "scheduler": scheduler, "max_num_batched_tokens": budget, "max_num_seqs": sequences, "block_size": block_tokens(record, of),
        "memory_utilization": memory_fraction(record, of), "enable_chunked_prefill": chunked,
        "enable_prefix_caching": prefix_caching(record, of),
        "long_prefill_token_threshold": record.scheduler.long_prefill_token_threshold, "policy": record.scheduler.policy,
        # with several pipeline stages it is not simulated
        "async_scheduling": async_scheduling(record, of) and of.pipeline == 1,
        "cuda_graphs": record.graphs.mode != "none", "scheduler_reserve_full_isl": record.scheduler.reserve_full_isl,
        "watermark": record.scheduler.watermark,
        **_scheduler_defaults(scheduler, said),
    }


def _scheduler_defaults(scheduler: str, said: Collection[str]) -> dict[str, Any]:
    """What a scheduler other than vLLM's does where nothing is said, of the settings that are vLLM's."""
    rules = rules_of(scheduler)
    own: dict[str, Any] = {}
    if not rules.chunks:
        own["enable_chunked_prefill"] = False
    if not rules.vllm_admission:
        own |= {"scheduler_reserve_full_isl": False, "watermark": 0.0, "long_prefill_token_threshold": 0}
    return {key: value for key, value in own.items() if key not in said}
