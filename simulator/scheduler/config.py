"""Scheduler limits under vLLM v1's names, the KV groups of a model and how it speculates."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.scheduler.acceptance import DrawnAcceptance, RecordedAcceptance


@dataclass(frozen=True)
class KvGroupConfig:
    """Layers whose KV is kept in blocks of one table.

    kind: `full` (every token; latent attention too), `window` (the last `span` tokens), `chunk` (those since the last multiple of
    `span`) or `state` (one state per sequence, whatever its length).
    """

    kind: str
    block_size: int  # tokens
    span: int = 0  # tokens of a window or a chunk


@dataclass(frozen=True)
class SpeculationConfig:
    """Draft tokens that a cheaper `method` proposes and the model verifies; names are vLLM's (`speculation.METHODS`)."""

    method: str
    tokens: int  # drafts of a proposal
    acceptance: DrawnAcceptance | RecordedAcceptance
    modules: int = 1  # of an `mtp` drafter
    parallel: bool = False  # all drafts of a proposal in one pass of the drafter


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
    policy: str = "fcfs"  # fcfs | priority
    async_scheduling: bool = False
    pipeline_parallel_size: int = 1
    scheduler_reserve_full_isl: bool = True
    watermark: float = 0.0
    scheduler: str = "vllm_v1"  # or one of simulator.scheduler.policies.registry.SCHEDULERS
    preemption: str = "recompute"  # recompute | swap (to host memory, StepCosts.swap_block_ns per block)
    kv_groups: tuple[KvGroupConfig, ...] = ()  # none: one full group of block_size tokens
    prefix_cache_retention_interval: int | None = 0  # 0: what later prompts can resume from; n: every n tokens too; None: all
    speculation: SpeculationConfig | None = None

    @property
    def groups(self) -> tuple[KvGroupConfig, ...]:
        return self.kv_groups or (KvGroupConfig("full", self.block_size),)

    @property
    def draft_tokens(self) -> int:
        """Drafts of a proposal; 0: no speculation."""
        return self.speculation.tokens if self.speculation else 0

    @property
    def batches_in_flight(self) -> int:
        return 2 if self.async_scheduling else self.pipeline_parallel_size
