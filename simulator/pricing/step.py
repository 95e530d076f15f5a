"""`StepCosts`: the priced tables of one design, with which an engine times its steps.

Time of a step with T new tokens in n requests. An entry with one new token, drafts to be checked not counted, is a decode
(context = tokens in the KV cache after this step, its own included); any other is a prefill chunk (chunk tokens, context =
tokens before it).

    decode  = table by (B decodes, S = sum of contexts, M = longest context), or the busiest PIM channel;
              beside prefill chunks, where `beside_ns` is given, its table at the longest chunk of the step instead;
              where any of them has drafts and `verify_ns` is given, that table for all (a kernel runs as many query
              tokens for each), or the longer one beside chunks. On PIM channels every query token counts as a decode
    prefill = sum over chunks of prefill(chunk, context)
    blocks  = linear[T] combined with decode and prefill as `overlap` says     (all decoder blocks of the model)
    stage s = ceil(blocks * stage_layers[s] / layers) + stage_tokens_ns[s, T] + stage_sequences_ns[s, n]
              + draft_tokens_ns[T] + draft_sequences_ns[n] on the last, which drafts for the next step
    host    = host_ns[n], spent by the engine's CPU before the batch can start

With P = prefill, D = decode, Q = half_before_ns[T], R = half_after_ns[T], L = layers = sum(stage_layers):

    SERIAL      blocks = linear[T] + P + D
    CONCURRENT  blocks = linear[T] + max(P, D)
    INTERLEAVED blocks = ceil((2Q + max(2Q + P, D) + (2L - 2) max(2Q + P + 2R, D) + max(P + 2R, D) + 2R) / 2L)
    BEST        the smaller of CONCURRENT and INTERLEAVED

INTERLEAVED is the NeuPIMs schedule (ASPLOS 2024: stages A-F): two halves of the batch, the NPU on one while PIM is on
the other; A = QKV of half 1, B = QKV of half 2 during attention of half 1, then 2L - 2 times projection/FFN of one half
and its next QKV during attention of the other, E and F drain. Prefill attention is NPU work, half of it in each half.

Everything is an int64 of nanoseconds; interpolations are float64, rounded once by int(x + 0.5). Times are sums of
integers, so they are exact and do not depend on the order of adding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError
from simulator.scheduler.config import SchedulerConfig

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

SERIAL = 0  # linear + prefill + decode
CONCURRENT = 1  # linear + max(prefill, decode): chunks on the NPU while PIM decodes
INTERLEAVED = 2  # two sub-batches, NPU on one while PIM is on the other
BEST = 3  # the faster of CONCURRENT and INTERLEAVED, chosen at every step


@dataclass(frozen=True)
class StepCosts:
    """See the module text. All times are for one rank of the tensor-parallel group (the ranks run in step)."""

    linear_ns: Int64  # [T_max + 1]
    # decode attention of all blocks, by batch and mean context: lerp along context, B exact
    decode_ns: Float64  # [n_max + 1, knots]
    decode_spread_ns: Float64  # [n_max + 1] per token that the longest context exceeds the mean; all 0: off
    # PIM with whole requests on channels: busiest channel of channel_request_ns * requests + channel_token_ns * context
    channels: int  # 0: the table above is used instead
    channel_request_ns: float
    channel_token_ns: float
    # prefill attention of all blocks: bilinear on (chunk, context) knots
    prefill_ns: Float64  # [chunk knots, context knots]
    chunk_knots: Float64  # ascending, first 0 or 1
    context_knots: Float64  # ascending, first 0; shared by decode and prefill
    stage_layers: Int64  # [stages]
    stage_tokens_ns: Int64  # [stages, T_max + 1]
    stage_sequences_ns: Int64  # [stages, n_max + 1]
    host_ns: Int64  # [n_max + 1]
    overlap: int = SERIAL
    half_before_ns: Int64 | None = None  # [T_max + 1] INTERLEAVED: operators before attention, of one of two halves of T
    half_after_ns: Int64 | None = None  # [T_max + 1] and those after attention
    swap_block_ns: int = 0  # moving one KV block to or from host memory (preemption by swap)
    # decode attention of a step that also holds prefill chunks (one kernel call serves both and treats decodes otherwise
    # than a batch of decodes alone): lerp along the longest chunk, then as decode_ns; None: decode_ns holds there too
    beside_knots: Float64 | None = None  # ascending chunk lengths
    beside_ns: Float64 | None = None  # [beside knots, n_max + 1, context knots]
    beside_spread_ns: Float64 | None = None  # [n_max + 1], in place of decode_spread_ns
    # speculation
    verify_ns: Float64 | None = None  # [n_max + 1, knots] as decode_ns, of steps that check drafts; None: as without drafts
    draft_tokens_ns: Int64 | None = None  # [T_max + 1] the drafter's pass over the tokens of the step
    draft_sequences_ns: Int64 | None = None  # [n_max + 1] its further passes, one token of each request


def check_costs(config: SchedulerConfig, costs: StepCosts) -> None:
    """Raises InputError where a table is shorter than the batches that `config` allows."""
    stages, tokens, sequences = len(costs.stage_layers), config.max_num_batched_tokens + 1, config.max_num_seqs + 1
    if stages != config.pipeline_parallel_size:
        raise InputError(f"has {stages} stages, pipeline_parallel_size is {config.pipeline_parallel_size}",
                         key="stage_layers")
    shapes = {"linear_ns": (tokens,), "stage_tokens_ns": (stages, tokens), "stage_sequences_ns": (stages, sequences),
              "host_ns": (sequences,), "decode_ns": (sequences, 1), "decode_spread_ns": (sequences,),
              "half_before_ns": (tokens,), "half_after_ns": (tokens,), "verify_ns": (sequences, 1), "draft_tokens_ns": (tokens,),
              "draft_sequences_ns": (sequences,)}
    for key, least in shapes.items():
        table = getattr(costs, key)
        if table is not None and (table.ndim != len(least) or any(np.less(table.shape, least))):
            raise InputError(f"has shape {table.shape}, these scheduler limits need at least {least}", key=key)
