"""Scheduler limits under vLLM v1's names."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.design.records.engine import SglangScheduler, TrtllmScheduler

SGLANG, TENSORRT_LLM = SglangScheduler(), TrtllmScheduler()  # as their engines' defaults are


@dataclass(frozen=True)
class SchedulerConfig:
    """Scheduler limits; names and meaning are vLLM v1's. `num_gpu_blocks` includes the null block (never usable)."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    num_gpu_blocks: int
    max_model_len: int
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = False
    long_prefill_token_threshold: int = 0
    policy: str = "fcfs"  # order of the queue: fcfs | priority; SGLang's: fcfs | lpm | dfs-weight | lof
    async_scheduling: bool = False
    pipeline_parallel_size: int = 1
    scheduler_reserve_full_isl: bool = True
    watermark: float = 0.0
    scheduler: str = "vllm_v1"  # a name of simulator.scheduler.policies.registry, or a plug-in's `package:name`
    preemption: str = "recompute"  # recompute | swap (to host memory, StepCosts.swap_block_ns per block)
    max_prefill_tokens: int = 16384  # SGLang: prompts of one batch together
    sglang: SglangScheduler = SGLANG
    tensorrt_llm: TrtllmScheduler = TENSORRT_LLM
