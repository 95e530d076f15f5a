"""Switches whose default depends on the rest of a deployment."""

from __future__ import annotations

from simulator.design.engine_defaults.situation import Situation
from simulator.design.records.engine import EngineRecord


def async_scheduling(record: EngineRecord, of: Situation) -> bool:
    """Whether the engine schedules a step while the device runs the one before."""
    rule = record.scheduler.async_scheduling
    pipeline_ok = of.pipeline == 1 or {"never": False, "always": True, "runner_v2": record.runner == "v2"}[rule.pipeline]
    return rule.default and pipeline_ok and (of.drafter is None or of.drafter in rule.drafters)


def steps_together(record: EngineRecord, *, experts: bool) -> bool:
    """Whether data-parallel ranks step together, idle ones with dummy batches."""
    return {"all": True, "experts": experts, "none": False}[record.data_parallel.lockstep]


def conservativeness(record: EngineRecord, of: Situation) -> float:
    """Factor on SGLang's new-token ratio."""
    sglang = record.scheduler.sglang
    return sglang.new_token_ratio.data_attention if sglang is not None and of.data > 1 else 1.0
