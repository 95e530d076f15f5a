"""Times that no schedule can beat, from a design's step tables; `simulator.analysis.bounds` makes metrics of them.

Everything is read off the tables that the engines themselves use, so it holds for every device, measured and plugged-in
ones included. A step is at least as long as each of its parts, and each part's table lies above a line through what it
does (the roofline of this design, its overheads included):

    linear operators of T tokens      >= T * (least time per token over all T)
    decode attention of contexts S    >= a + r * S                              S: sum over the batch
    prefill attention of a chunk      >= c * (query-key pairs)

Tables are interpolated linearly, so a line that is below them at the knots is below them everywhere. Engines round each
look-up to 1 ns, which is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.model.operators import causal_pairs
from simulator.pricing.step import BEST, CONCURRENT, INTERLEAVED, SERIAL, StepCosts
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_blocks import blocks_for
from simulator.scheduler.limits import served_outputs
from simulator.workload.trace import Trace

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
EXACT = 1 - 1e-9  # what float64 sums may be off by


@dataclass(frozen=True)
class Floors:
    """One replica. Shapes [n], ns; requests that are rejected have outputs 0 and floors of no meaning.

    work_ns: the slowest pipeline stage is busy at least so long. tokens, entries: tokens computed, and one-request parts
    of batches, at least. preempts: whether the KV cache can ever be short of blocks.
    """

    outputs: Int64
    ttft_ns: Float64
    decode_ns: Float64  # first to last token
    gap_ns: float  # between two tokens of any request
    work_ns: float
    tokens: float
    entries: float
    preempts: bool


@dataclass(frozen=True)
class _Lines:
    """The lines below a design's tables, ns."""

    linear: Float64  # [T], T >= 1: blocks of T tokens without attention
    through: Float64  # [T]: the same with what stages add, all stages after one another
    stages: list[tuple[Float64, float]]  # [T] and share of the layers of what chunks of a prompt pass one after another:
    #                                      each stage by itself where several batches are in flight
    decode_base: float
    decode_slope: float  # per token of context
    pair: float  # prefill attention per query-key pair


def floors(trace: Trace, config: SchedulerConfig, costs: StepCosts) -> Floors:
    """The floors of serving `trace` on one replica with these tables and limits."""
    outputs = served_outputs(trace, config)
    done = outputs > 0
    prompt = np.where(config.enable_prefix_caching, 1, trace.prompt_tokens).astype(np.float64)
    last = float((trace.prompt_tokens + outputs)[done].max(initial=1))
    preempts = _can_preempt(trace, outputs, config)
    lines = _lines(costs, config, last, preempts)
    steps = np.maximum(outputs - 1, 0).astype(np.float64)
    read = steps * trace.prompt_tokens + steps * (steps + 1) / 2  # context over all decodes
    pairs = prompt * (prompt + 1) / 2
    host_ns = float(costs.host_ns[1: config.max_num_seqs + 1].min())
    head_ns = float(costs.stage_sequences_ns[:, 1: config.max_num_seqs + 1].sum(axis=0).min())
    attended = 0.0 if costs.overlap in (INTERLEAVED, BEST) else min(lines.pair, lines.decode_slope)
    passes = [_prefill_ns(own, prompt) + share * attended * pairs for own, share in lines.stages]
    ttft: Float64 = np.maximum.reduce(passes) + head_ns + host_ns - 1.5 * prompt  # a chunk is rounded twice
    gap = float(lines.through.min()) + head_ns + (0.0 if config.async_scheduling else host_ns)
    attention = lines.decode_base * steps + lines.decode_slope * read
    if costs.overlap in (INTERLEAVED, BEST):  # blocks last as long as the longer of the two
        beside = gap - float(lines.linear.min())
        decode = np.maximum(gap * steps, beside * steps + attention)
    else:
        decode = gap * steps + np.maximum(attention, 0.0)
    tokens, entries = float((prompt + steps)[done].sum()), float(outputs[done].sum())
    work = _work_ns(costs, config, lines, tokens, entries, float(pairs[done].sum()), float(read[done].sum()), preempts)
    return Floors(outputs, np.maximum(ttft, 0.0) * EXACT, decode * EXACT, gap * EXACT, work * EXACT, tokens, entries, preempts)


def _can_preempt(trace: Trace, outputs: Int64, config: SchedulerConfig) -> bool:
    """Whether the largest requests that can run together need more blocks than there are."""
    have = (1 - config.watermark) * (config.num_gpu_blocks - 1)
    most = (blocks_for(trace.prompt_tokens + outputs, config.block_size) + 1)[outputs > 0]
    if most.max(initial=0) * min(config.max_num_seqs, len(most)) <= have:  # the usual case
        return False
    if len(most) > config.max_num_seqs:
        most = np.partition(most, -config.max_num_seqs)[-config.max_num_seqs:]
    return bool(most.sum() > have)


def _lines(costs: StepCosts, config: SchedulerConfig, last: float, preempts: bool) -> _Lines:
    top = config.max_num_batched_tokens + 1
    linear: Float64 = costs.linear_ns[1:top].astype(np.float64)
    if costs.overlap in (INTERLEAVED, BEST):
        assert costs.half_before_ns is not None and costs.half_after_ns is not None
        halves = 2.0 * (costs.half_before_ns[1:top] + costs.half_after_ns[1:top])
        linear = np.asarray(halves if costs.overlap == INTERLEAVED else np.minimum(linear, halves), dtype=np.float64)
    through: Float64 = linear + costs.stage_tokens_ns[:, 1:top].sum(axis=0)
    shares = costs.stage_layers / costs.stage_layers.sum()
    stages = [(through, 1.0)] if len(shares) == 1 else [
        (share * linear + costs.stage_tokens_ns[stage, 1:top], float(share)) for stage, share in enumerate(shares)]
    base, slope = _decode_line(costs, config)
    if preempts:  # a token may come from the recomputed prompt instead of a decode
        base, slope = 0.0, 0.0
    return _Lines(linear, through, stages, base, slope, _pair_ns(costs, config, last))


def _decode_line(costs: StepCosts, config: SchedulerConfig) -> tuple[float, float]:
    """(a, r) with decode attention >= a + r * S at every batch and context."""
    if costs.channels:
        return max(costs.channel_request_ns, 0.0) - 0.5, max(costs.channel_token_ns, 0.0)
    tables = [(costs.decode_ns, costs.decode_spread_ns)]
    if costs.beside_ns is not None:
        spread = costs.decode_spread_ns if costs.beside_spread_ns is None else costs.beside_spread_ns
        tables += [(table, spread) for table in costs.beside_ns]
    knots, top = costs.context_knots, config.max_num_seqs + 1
    if len(knots) < 2 or any((spread[1:top] < 0).any() for _, spread in tables):
        return 0.0, 0.0
    batch = np.arange(1, top, dtype=np.float64)[:, None]
    base = max(min(float(table[1:top, 0].min()) for table, _ in tables), 0.0)
    slope = np.inf
    for table, _ in tables:
        ns = table[1:top]
        at_knots = (ns[:, 1:] - base) / (batch * knots[1:])
        beyond = (ns[:, -1:] - ns[:, -2:-1]) / (batch * (knots[-1] - knots[-2]))
        slope = min(slope, float(at_knots.min()), float(beyond.min()))
    return base - 0.5, max(slope, 0.0)


def _pair_ns(costs: StepCosts, config: SchedulerConfig, last: float) -> float:
    """c with prefill attention >= c * pairs; 0 where a chunk or context may lie beyond the table."""
    chunks, contexts = costs.chunk_knots, costs.context_knots
    if config.max_num_batched_tokens > chunks[-1] or last > contexts[-1]:
        return 0.0
    chunk = chunks[chunks >= 1][:, None]
    return max(float((costs.prefill_ns[chunks >= 1] / causal_pairs(chunk, contexts)).min()), 0.0)


def _prefill_ns(through: Float64, prompt: Float64) -> Float64:
    """Linear operators of whole prompts, cut into any chunks, each in a batch with anything else."""
    at_least = np.minimum.accumulate(through[::-1])[::-1]  # of a batch with T tokens or more
    per_token = np.minimum.accumulate(at_least / np.arange(1, len(at_least) + 1))
    return prompt * per_token[np.minimum(prompt, len(per_token)).astype(np.int64) - 1]


def _work_ns(costs: StepCosts, config: SchedulerConfig, lines: _Lines, tokens: float, entries: float, pairs: float,
             read: float, preempts: bool) -> float:
    """Busy time of the slowest stage, and with it of the host where the two take turns."""
    slope = lines.decode_slope / max(costs.channels, 1)
    attention = _attention_ns(costs.overlap, lines.pair, slope, pairs, read)
    counts = np.arange(1, len(lines.linear) + 1)
    sequences = np.arange(1, config.max_num_seqs + 1)
    layers = float(costs.stage_layers.sum())
    works = []
    for stage, share in enumerate(costs.stage_layers / layers):
        own = costs.stage_tokens_ns[stage, 1: len(counts) + 1]
        heads = entries * float((costs.stage_sequences_ns[stage, 1: len(sequences) + 1] / sequences).min())
        per_token = max(float(((share * lines.linear + own) / counts).min()) - 1.0, 0.0)
        if costs.overlap in (INTERLEAVED, BEST):
            alone = max(float((own / counts).min()) - 1.0, 0.0)
            works.append(max(tokens * per_token, tokens * alone + share * attention) + heads)
        else:
            works.append(tokens * per_token + share * attention + heads)
    host = 0.0
    if not config.async_scheduling and config.pipeline_parallel_size == 1:
        host = entries * float((costs.host_ns[1: len(sequences) + 1] / sequences).min())
    return max(works) + host


def _attention_ns(overlap: int, pair: float, slope: float, pairs: float, read: float) -> float:
    """Attention of a whole run. Chunks of one token count as decodes: `moved` pairs may be on that side."""
    if overlap == SERIAL:
        return min(pair, slope) * pairs + slope * read
    if overlap == CONCURRENT and pair + slope > 0:
        moved = min(max((pair * pairs - slope * read) / (pair + slope), 0.0), pairs)
        return max(pair * (pairs - moved), slope * (read + moved))
    return slope * read
