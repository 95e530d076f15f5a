"""The time of a batch, from counters of the decodes in lockstep and the list of the other entries (see `StepCosts`)."""

from __future__ import annotations

import numpy as np

from simulator.engine.kernel.records import Array, Core, Flights, Int, Record, StageTables, Tables
from simulator.pricing.compiled import callable_from_compiled, index
from simulator.pricing.step_time import (
    beside_time_ns,
    blocks_time_ns,
    channel_time_ns,
    decode_time_ns,
    prefill_time_ns,
    stage_time_ns,
)


def price_blocks(g: Int, context: Int, longest: Int, core: Core, flights: Flights, tables: Tables) -> Int:
    """Time of all decoder blocks for the batch that was decided; adds to the totals. `context`, `longest`: sum and largest context
    of its decodes in step."""
    run, stages, decodes, chunks = core.run, tables.stages, tables.decodes, tables.chunks
    batch, prefill, decode, longest_chunk = run.decodes, np.int64(0), np.int64(0), np.int64(0)
    for k in range(index(run.entries)):
        row = core.slots[index(core.entries[k])]
        chunk, before = np.int64(row.chunk), np.int64(row.computed)
        if chunk == 1:  # priced like a decode
            batch += 1
            context += before + 1
            longest = max(longest, before + 1)
            continue
        longest_chunk = max(longest_chunk, chunk)
        prefill += prefill_time_ns(chunk, before, chunks.prefill_ns, chunks.chunk_knots, chunks.chunk_marks, chunks.per_chunk,
                                   decodes.knots, decodes.marks, chunks.per_context)
        run.prefill_chunks += 1
        run.prefill_tokens += chunk
        run.prefill_context += before
        run.prefill_pairs += chunk * before + chunk * (chunk + 1) // 2
    if batch > 0:
        if run.channels:
            decode = _busiest_ns(g, core, flights)
        elif longest_chunk > 0 and run.has_beside:
            decode = beside_time_ns(batch, context, longest, longest_chunk, chunks.beside_knots, chunks.beside_ns,
                                    chunks.beside_spread_ns, decodes.knots, decodes.marks)
        else:
            decode = decode_time_ns(batch, context, longest, decodes.base_ns, decodes.slope_ns, decodes.spread_ns,
                                    decodes.inverse, decodes.knots, decodes.marks)
        run.decode_sequences += batch
        run.decode_context += context
        run.decode_ns += decode
    run.prefill_ns += prefill
    tokens = index(run.tokens)
    blocks = blocks_time_ns(run.overlap, stages.linear_ns[tokens], prefill, decode, stages.half_before_ns[tokens],
                            stages.half_after_ns[tokens], run.layers)
    blocks += run.swapped_blocks * run.swap_block_ns
    run.swapped_blocks = 0
    run.blocks_ns += blocks
    return blocks


def _busiest_ns(g: Int, core: Core, flights: Flights) -> Int:
    """Decode attention of the busiest PIM channel."""
    run, load, on = core.run, flights.load, flights.on_channels
    for c in range(index(run.channels)):
        load[index(0), c], load[index(1), c] = on[g, index(0), c], on[g, index(1), c] + on[g, index(0), c]
    for k in range(index(run.entries)):
        row = core.slots[index(core.entries[k])]
        if row.chunk == 1:
            load[index(0), index(row.channel)] += 1
            load[index(1), index(row.channel)] += row.computed + 1
    return channel_time_ns(load[0], load[1], run.channel_request_ns, run.channel_token_ns)


def pass_stages(blocks: Int, last: Int, sequences: Int, run: Record, free: Array, stages: StageTables) -> None:
    """Passes the batch through the host and the pipeline's stages: its start and end. `last`: what the last stage takes more;
    `free`: int64 [stages], when each is."""
    tokens, n = index(run.tokens), index(sequences)
    run.clock += stages.host_ns[n]
    run.start_ns = end = max(run.clock, free[0])
    if run.stages == 1:
        end += blocks + stages.stage_tokens_ns[index(0), tokens] + stages.stage_sequences_ns[index(0), n] + last
        free[0] = end
    else:
        for k in range(index(run.stages)):
            duration = stage_time_ns(blocks, stages.stage_layers[k], run.layers, stages.stage_tokens_ns[k, tokens],
                                     stages.stage_sequences_ns[k, n])
            end = max(end, free[k]) + duration
            free[k] = end
        end += last
        free[index(run.stages - 1)] = end
    run.end_ns = end


callable_from_compiled(__name__)
