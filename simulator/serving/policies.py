"""Schedulers by name: vLLM v1 and the classic policies as small variants of it."""

from __future__ import annotations

from simulator.serving.scheduler import Scheduler

SCHEDULERS: dict[str, type[Scheduler]] = {
    "vllm_v1": Scheduler,
}
