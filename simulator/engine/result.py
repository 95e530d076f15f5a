"""The result of an engine run: request times, totals and, on request, every step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.workload.trace import Int32, Int64, Trace


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
    gap_counts: Int64 | None = None  # histogram of the gaps between successive tokens of a request (see `gap_histogram`); tokens
    #                                  that come together are one
    checked_drafts: int = 0  # sum over steps of draft tokens verified, dummies included
    accepted_drafts: int = 0  # output tokens that came beyond the first of their step
    draft_ns: int = 0  # sum over steps of the drafter's time


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
    # with KV groups or speculation only
    batch_computed: Int32 | None = None  # [sum n] tokens before the step; with async scheduling drafts in flight count as accepted
    batch_drafts: Int32 | None = None  # [sum n] drafts among the new tokens
    batch_outputs: Int32 | None = None  # [sum n] output tokens that came of it
    held: Int32 | None = None  # [steps, groups] blocks in the tables of the running requests, right after the decision


def with_arrivals(trace: Trace, result: EngineResult) -> Trace:
    """`trace` with the arrivals that its clients came to in this run. Served as an open-loop trace it gives the same run, as
    long as one batch is in flight at a time: with more, the engine delivers an answer, and so hears of the next request, up to
    a host time after the batch ended."""
    if not trace.concurrency:
        return trace
    served = result.finish_ns >= 0
    arrival = np.zeros(int(served.sum()), np.int64)
    arrival[trace.concurrency:] = np.sort(result.finish_ns[served])[: max(0, len(arrival) - trace.concurrency)]
    every = np.zeros(len(trace), np.int64)
    every[served] = arrival
    return replace(trace, arrival_ns=np.maximum.accumulate(every), concurrency=0)
