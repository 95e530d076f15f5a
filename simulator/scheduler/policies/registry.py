"""The registry of schedulers by name: vLLM v1 and the classic policies as small variants of it.

All share the queue, the block pool and the limits of `SchedulerConfig`; where a paper leaves something open the answer
is vLLM v1's (head-of-line admission, victims from the tail, watermark only while requests are running).
"""

from __future__ import annotations

from simulator.scheduler.policies.orca import Orca
from simulator.scheduler.policies.sarathi import Sarathi
from simulator.scheduler.policies.static import StaticBatching
from simulator.scheduler.policies.vllm_v0 import VllmV0
from simulator.scheduler.scheduler import Scheduler

SCHEDULERS: dict[str, type[Scheduler]] = {
    "vllm_v1": Scheduler,
    "sarathi": Sarathi,
    "static": StaticBatching,
    "orca": Orca,
    "vllm_v0": VllmV0,
}
