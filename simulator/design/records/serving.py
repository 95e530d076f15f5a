"""The serving record: parallel degrees, scheduler limits (vLLM's names and defaults), latency targets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from simulator.design.records.base import Count, Fraction, PositiveInt, PositiveSeconds, Record, Share
from simulator.design.scheduler_rules import check_name
from simulator.inputs.errors import InputError


def _scheduler(value: str) -> str:
    try:
        return check_name(value)
    except InputError as error:
        raise ValueError(error.message) from error


class Parallelism(Record):
    """Devices = tensor x pipeline x replicas."""

    tensor: PositiveInt = 1
    pipeline: PositiveInt = 1
    replicas: PositiveInt = 1
    # experts are dealt out whole over the tensor-parallel ranks (vLLM's --enable-expert-parallel) instead of cut
    expert_parallel: bool = False

    @property
    def devices(self) -> int:
        return self.tensor * self.pipeline * self.replicas


class Serving(Record):
    """Scheduler limits and policies; names and meaning as vLLM v1's engine arguments.

    With an `engine`, what is left out is that engine's default for the design; the defaults below are those of designs
    without one.
    """

    # vllm_v1, sglang, tensorrt_llm, sarathi, static, orca, vllm_v0 or package:name; with an engine, that engine's own
    scheduler: Annotated[str, AfterValidator(_scheduler)] = "vllm_v1"
    # the tables of a step hold a row for every batch up to these: above, they take more than 1 GB
    max_num_seqs: Annotated[int, Field(gt=0, le=2**17)] = 256
    max_num_batched_tokens: Annotated[int, Field(gt=0, le=2**22)] = 8192
    max_model_len: PositiveInt | Literal["auto"] = "auto"
    block_size: PositiveInt = 16
    num_gpu_blocks: PositiveInt | Literal["auto"] = "auto"  # auto: predicted from memory
    memory_utilization: Fraction = 0.9
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = False
    long_prefill_token_threshold: Count = 0
    policy: Literal["fcfs", "priority", "lpm", "dfs-weight", "lof"] = "fcfs"  # order of the queue; the last three: SGLang's
    async_scheduling: bool = False
    preemption: Literal["recompute", "swap"] = "recompute"  # swap: KV blocks wait in another memory, as vLLM v0's swap space
    swap_to: Literal["host", "cxl"] = "host"  # hardware.host_memory or hardware.cxl
    cuda_graphs: bool = False  # rows are padded to vLLM's capture sizes (simulator.pricing.cuda_graphs)
    scheduler_reserve_full_isl: bool = True
    watermark: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Slo(Record):
    """Latency targets a request must meet to count as goodput; absent ones do not bind. allow_rejected: share of requests that
    may never fit and be refused; without it a design that refuses any is infeasible."""

    ttft_s: PositiveSeconds | None = Field(default=None, alias="ttft")
    tpot_s: PositiveSeconds | None = Field(default=None, alias="tpot")
    e2e_s: PositiveSeconds | None = Field(default=None, alias="e2e")
    allow_rejected: Share | None = None
