"""What an engine is told: scheduler limits and a trace, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]


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


@dataclass(frozen=True)
class Segments:
    """Prompt content for prefix caching: request i is the concatenation of segments offsets[i]..offsets[i+1].

    Two tokens are equal exactly when (stream, position in the stream) are equal. The k-th token that request i
    generates is (OUTPUT_STREAM + i, k); prompts of later turns may quote it.
    """

    offsets: Int64  # [n + 1]
    stream: Int64  # [segments]
    start: Int64  # [segments] first position in the stream
    length: Int64  # [segments]


OUTPUT_STREAM = 2_000_000  # stream of generated tokens, as in the scheduler oracle's format
PRIVATE_STREAM = 1_000_000  # stream of a request's private prompt when there are no segments


@dataclass(frozen=True)
class Trace:
    """Requests in order of arrival (ties keep their order; a request's id is its index). Shapes [n].

    Either `segments` or `prompt_ids` (token ids, CSR by `prompt_id_offsets`) may say what the prompts contain;
    with neither, every prompt is private and prefix caching never hits.
    """

    arrival_ns: Int64
    prompt_tokens: Int32
    output_tokens: Int32
    priority: Int32 | None = None
    segments: Segments | None = None
    prompt_ids: Int32 | None = None
    prompt_id_offsets: Int64 | None = None
    concurrency: int = 0  # clients of a closed loop (`closed_loop`), whose arrivals are all 0; 0: open loop

    def __len__(self) -> int:
        return len(self.arrival_ns)


@dataclass(frozen=True)
class EngineResult:
    """What a simulated run gives. Times int64 ns, [n]; -1 for a request that was rejected (could never fit).

    Totals are over all steps and are what energy, utilisation and breakdowns are computed from.
    """

    first_scheduled_ns: Int64  # start of the request's first batch
    first_token_ns: Int64
    finish_ns: Int64
    preemptions: Int32
    cached_tokens: Int32  # prefix-cache hit at first admission
    steps: int
    makespan_ns: int  # end of the last step
    steps_by_tokens: Int64  # [max_num_batched_tokens + 1] how many steps had T new tokens
    steps_by_sequences: Int64  # [max_num_seqs + 1] how many steps had n requests
    blocks_ns: int  # sum over steps of the block time of the whole model (overlap included)
    decode_ns: int  # sum of decode attention time before overlap
    prefill_ns: int  # sum of prefill attention time before overlap
    decode_sequences: int  # sum over steps of one-token entries
    decode_context_tokens: int  # sum over steps of their context (KV read), new token included
    prefill_chunks: int
    prefill_tokens: int  # sum of chunk lengths
    prefill_context_tokens: int  # sum of context before each chunk
    prefill_pairs: int  # sum of chunk*context + chunk*(chunk+1)/2: query-key pairs of causal attention
    used_block_ns: int  # sum over batches of blocks in use after the decision x time from its start until the next
    #                     batch's start or its own end, whichever is first: mean KV use while the engine is busy
    peak_used_blocks: int  # after any decision
    waiting_ns: int  # sum over steps of queue length after the decision x time until the next step's decision
    log: StepLog | None = None
    gap_counts: Int64 | None = None  # histogram of the gaps between successive tokens of a request (see `gaps`)


@dataclass(frozen=True)
class StepLog:
    """Every step that scheduled a token or preempted somebody; [steps] unless said. `n`, `free`, `waiting`, `running`
    are right after the decision. The batches are flattened in scheduling order and cut by `n`."""

    scheduled_ns: Int64
    start_ns: Int64
    end_ns: Int64
    n: Int32
    tokens: Int32
    free_blocks: Int32
    waiting: Int32
    running: Int32
    batch_request: Int32  # [sum n]
    batch_new_tokens: Int32  # [sum n]
    admissions: Int32  # [admissions, 3] step, request, computed tokens (prefix hit)
    preempted: Int32  # [preemptions, 2] step, request
