"""The time of a batch in the reference engine: decodes and prefill chunks, each looked up by `simulator.pricing.step_time`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.pricing import step_time as formulas
from simulator.pricing.step_time import StepTables
from simulator.scheduler.requests import Entry


@dataclass(frozen=True)
class StepTime:
    """Times in ns and the counts they come from."""

    host_ns: int
    stage_ns: list[int]
    blocks_ns: int
    decode_ns: int
    prefill_ns: int
    tokens: int
    decodes: int
    decode_context: int
    chunks: int
    chunk_tokens: int
    chunk_context: int
    chunk_pairs: int
    checked: int = 0  # drafts, beyond the one token of each decode
    draft_ns: int = 0


def step_time(entries: Sequence[Entry], tables: StepTables, swapped_blocks: int = 0) -> StepTime:
    """Time of a step. An entry with one new token, drafts not counted, is a decode that reads computed + new tokens, every other a
    chunk.

    `swapped_blocks` KV blocks moved to or from host memory before the step add `swap_block_ns` each to the decoder
    blocks' time (every stage moves the share of its own layers).
    """
    decodes = [entry for entry in entries if entry.new - entry.checked == 1]
    chunks = [entry for entry in entries if entry.new - entry.checked > 1]
    contexts = [entry.computed + entry.new for entry in decodes]
    checked = sum(entry.checked for entry in entries)
    decode_ns = 0
    if decodes and tables.channels:
        requests, tokens_on = [0] * tables.channels, [0] * tables.channels
        for entry in decodes:
            requests[entry.channel] += entry.new
            tokens_on[entry.channel] += sum(entry.computed + query + 1 for query in range(entry.new))
        decode_ns = formulas.channel_time_ns(requests, tokens_on, tables.channel_request_ns, tables.channel_token_ns)
    elif decodes and chunks and len(tables.beside_knots):
        decode_ns = formulas.beside_time_ns(len(decodes), sum(contexts), max(contexts), max(entry.new for entry in chunks),
                                          tables.beside_knots, tables.beside_ns, tables.beside_spread_ns,
                                          tables.context_knots, tables.context_index)
    elif decodes and not checked:
        decode_ns = formulas.decode_time_ns(len(decodes), sum(contexts), max(contexts), tables.decode_base_ns,
                                          tables.decode_slope_ns, tables.decode_spread_ns, tables.inverse,
                                          tables.context_knots, tables.context_index)
    if checked and not tables.channels:
        verify_ns = formulas.decode_time_ns(len(decodes), sum(contexts), max(contexts), tables.verify_base_ns,
                                          tables.verify_slope_ns, tables.decode_spread_ns, tables.inverse,
                                          tables.context_knots, tables.context_index)
        decode_ns = max(decode_ns, verify_ns)
    prefill_ns = sum(
        formulas.prefill_time_ns(entry.new, entry.computed, tables.prefill_ns, tables.chunk_knots, tables.chunk_index,
                               tables.per_chunk, tables.context_knots, tables.context_index, tables.per_context)
        for entry in chunks)
    n, tokens = len(entries), sum(entry.new for entry in entries)
    layers = int(tables.stage_layers.sum())
    blocks_ns = formulas.blocks_time_ns(tables.overlap, int(tables.linear_ns[tokens]), prefill_ns, decode_ns,
                                      int(tables.half_before_ns[tokens]), int(tables.half_after_ns[tokens]), layers)
    blocks_ns += swapped_blocks * tables.swap_block_ns
    stage_ns = [
        formulas.stage_time_ns(blocks_ns, int(share), layers, int(tables.stage_tokens_ns[stage, tokens]),
                             int(tables.stage_sequences_ns[stage, n]))
        for stage, share in enumerate(tables.stage_layers)]
    draft_ns = int(tables.draft_tokens_ns[tokens] + tables.draft_sequences_ns[n])
    stage_ns[-1] += draft_ns
    return StepTime(
        int(tables.host_ns[n]), stage_ns, blocks_ns, decode_ns, prefill_ns, tokens,
        len(decodes), sum(contexts), len(chunks), sum(entry.new for entry in chunks),
        sum(entry.computed for entry in chunks),
        sum(entry.new * entry.computed + entry.new * (entry.new + 1) // 2 for entry in chunks), checked, draft_ns)
