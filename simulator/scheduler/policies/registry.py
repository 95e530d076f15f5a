"""The registry of schedulers by name: vLLM v1, the classic policies as small variants of it, and two other engines' own.

The classic policies share vLLM's queue and block pool; where a paper leaves something open the answer is vLLM v1's
(head-of-line admission, victims from the tail, watermark only while requests are running). `package:name` is a class of
yours that does what `policies.protocol.Policy` says.
"""

from __future__ import annotations

from simulator.design.scheduler_rules import check_name, plugin
from simulator.scheduler.policies.orca import Orca
from simulator.scheduler.policies.protocol import PolicyFactory
from simulator.scheduler.policies.sarathi import Sarathi
from simulator.scheduler.policies.sglang import Sglang
from simulator.scheduler.policies.static import StaticBatching
from simulator.scheduler.policies.tensorrt_llm import TensorRtLlm
from simulator.scheduler.policies.vllm_v0 import VllmV0
from simulator.scheduler.scheduler import Scheduler

SCHEDULERS: dict[str, PolicyFactory] = {
    "vllm_v1": Scheduler,
    "sglang": Sglang,
    "tensorrt_llm": TensorRtLlm,
    "sarathi": Sarathi,
    "static": StaticBatching,
    "orca": Orca,
    "vllm_v0": VllmV0,
}
COMPILED = ("vllm_v1", "tensorrt_llm")  # those that the compiled kernel runs too


def find(name: str) -> PolicyFactory:
    """The scheduler of that name. Raises InputError."""
    found = SCHEDULERS.get(check_name(name))
    return plugin(name) if found is None else found
