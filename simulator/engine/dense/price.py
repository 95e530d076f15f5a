"""The time of a batch, entry by entry (see `StepCosts`)."""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.records import Core, Flights, Tables
from simulator.engine.kernel.records import Int
from simulator.pricing.compiled import callable_from_compiled, index
from simulator.pricing.step_time import beside_time_ns, blocks_time_ns, channel_time_ns, decode_time_ns, prefill_time_ns


def price_blocks(core: Core, flights: Flights, tables: Tables) -> Int:
    """Time of all decoder blocks for the batch that was decided; adds to the totals."""
    run, stages, decodes, chunks = core.run, tables.stages, tables.decodes, tables.chunks
    batch = context = longest = longest_chunk = prefill = decode = checked = np.int64(0)
    entries = flights.batches[index(run.newest)]
    for k in range(index(run.entries)):
        entry = entries[k]
        new, before = np.int64(entry.new), np.int64(entry.computed)
        checked += entry.checked
        if new - entry.checked == 1:
            batch += 1
            context += before + new
            longest = max(longest, before + new)
            continue
        longest_chunk = max(longest_chunk, new)
        prefill += prefill_time_ns(new, before, chunks.prefill_ns, chunks.chunk_knots, chunks.chunk_marks, chunks.per_chunk,
                                   decodes.knots, decodes.marks, chunks.per_context)
        run.prefill_chunks += 1
        run.prefill_tokens += new
        run.prefill_context += before
        run.prefill_pairs += new * before + new * (new + 1) // 2
    if run.channels and batch > 0:
        decode = _busiest_ns(core, flights)
    elif batch > 0:
        if longest_chunk > 0 and run.has_beside:
            decode = beside_time_ns(batch, context, longest, longest_chunk, chunks.beside_knots, chunks.beside_ns,
                                    chunks.beside_spread_ns, decodes.knots, decodes.marks)
        elif checked == 0:
            decode = decode_time_ns(batch, context, longest, decodes.base_ns, decodes.slope_ns, decodes.spread_ns,
                                    decodes.inverse, decodes.knots, decodes.marks)
        if checked > 0:
            verify = decode_time_ns(batch, context, longest, tables.drafts.base_ns, tables.drafts.slope_ns, decodes.spread_ns,
                                    decodes.inverse, decodes.knots, decodes.marks)
            decode = max(decode, verify)
    run.tokens = run.token_budget - run.budget - run.entries * run.drafting
    tokens = index(run.tokens)
    blocks = blocks_time_ns(run.overlap, stages.linear_ns[tokens], prefill, decode, stages.half_before_ns[tokens],
                            stages.half_after_ns[tokens], run.layers)
    blocks += run.swapped_blocks * run.swap_block_ns
    run.swapped_blocks = 0
    run.decode_sequences += batch
    run.decode_context += context
    run.decode_ns += decode
    run.prefill_ns += prefill
    run.blocks_ns += blocks
    run.checked += checked
    return blocks


def _busiest_ns(core: Core, flights: Flights) -> Int:
    """Decode attention of the busiest PIM channel; every query token counts as a decode."""
    run, load, entries = core.run, flights.load, flights.batches[index(core.run.newest)]
    load[:] = 0
    for k in range(index(run.entries)):
        entry = entries[k]
        if entry.new - entry.checked == 1:
            c, new = index(core.slots[index(entry.slot)].channel), np.int64(entry.new)
            load[index(0), c] += new
            load[index(1), c] += new * entry.computed + new * (new + 1) // 2
    return channel_time_ns(load[0], load[1], run.channel_request_ns, run.channel_token_ns)


def draft_time_ns(core: Core, tables: Tables) -> Int:
    """Time of the drafter, which the last stage adds; adds to the totals."""
    run = core.run
    draft = tables.drafts.tokens_ns[index(run.tokens)] + tables.drafts.sequences_ns[index(run.entries)]
    run.draft_ns += draft
    return draft


callable_from_compiled(__name__)
