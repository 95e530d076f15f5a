"""The main loop of the dense kernel, and its compiled entry point: `kernel.advance` with a pass that visits every request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import carray, config

from simulator.engine.dense import records as rec
from simulator.engine.dense.step import decide, deliver
from simulator.engine.kernel import records, views
from simulator.engine.kernel.advance import FINISHED, LIVELOCK, PAUSED, STUCK, addresses, load_compiled
from simulator.engine.kernel.queue import join, waiting_count
from simulator.pricing.compiled import index, once


@once
def advance(until_ns: int, s: rec.State, tables: rec.Tables) -> int:
    """Serves until every given request is finished, or until `until_ns`."""
    core, run = s.core, s.core.run
    while True:
        join(core.run, s.requests, s.queue)
        if run.clock >= until_ns:
            return PAUSED
        if run.running + waiting_count(core.run) > 0:
            decide(s, tables)
            if run.idle_preemptions > run.most_idle_preemptions:
                return LIVELOCK
            if run.decided - run.delivered < run.depth:
                continue
        if run.nonempty_in_flight > 0:
            deliver(s)
        elif run.joined < min(run.requests, run.clients + run.finished):
            run.delivered, run.oldest = run.decided, run.newest
            run.clock = max(run.clock, s.requests.arrival_ns[index(run.joined)])
        elif run.running + waiting_count(core.run) > 0:
            return STUCK
        else:
            return FINISHED


POINTERS = [name for part in (rec.Core, records.Requests, records.Queue, rec.Drafts, rec.Flights, records.Served, rec.Pool, rec.Log,
                              records.StageTables, records.DecodeTables, records.ChunkTables, rec.DraftTables)
            for name in part._fields]  # fmt: skip


def _entry(version: int) -> Callable[..., int]:
    """The compiled function's source; see `kernel.advance`."""
    run_t, slot_t, entry_t, kind_t, row_t = records.RUN, rec.SLOT, rec.ENTRY, rec.KIND, rec.ROW
    flight_t, node_t, key_t, step_t = records.FLIGHT, records.NODE, records.KEY, records.STEP
    i64, i32, u32, f64, many = np.int64, np.int32, np.uint32, np.float64, views.MANY

    def kernel(until_ns, run, slots, order, free_slots, groups, kind_groups, kind_starts,  # type: ignore[no-untyped-def]
               arrival_ns, prompt, output, priority, identity_offsets, shared, unique, waiters, done, due, swapped,
               thresholds, luck, accepted_at, accepted, proposed_at, proposed, verified, proposals,
               ring, batches, channel_tokens, load, stage_free_ns,
               first_scheduled_ns, first_token_ns, finish_ns, preemptions, cached_tokens, last_token_ns, by_tokens, by_sequences,
               gap_counts, length, gone, published, nodes, free, keys, table, found,
               steps, batch, admissions, preempted, held,
               linear_ns, half_before_ns, half_after_ns, stage_layers, stage_tokens_ns, stage_sequences_ns, host_ns,
               base_ns, slope_ns, spread_ns, inverse, knots, marks,
               prefill_ns, chunk_knots, chunk_marks, per_chunk, per_context, beside_knots, beside_ns, beside_spread_ns,
               verify_base_ns, verify_slope_ns, draft_tokens_ns, draft_sequences_ns):
        r = carray(run, (1,), run_t)[0]
        d, c, seqs, g = r.depth + version * 0, r.channels, r.max_num_seqs, r.kv_groups
        core = rec.Core(r, carray(slots, (many,), slot_t), carray(order, (many,), u32), carray(free_slots, (many,), u32),
                        carray(groups, (many,), kind_t), carray(kind_groups, (many,), i32), carray(kind_starts, (many,), i32))
        drafts = rec.Drafts(carray(thresholds, (r.draft_tokens if r.recorded == 0 else 0,), i64), carray(luck, (many,), u32),
                            carray(accepted_at, (many,), i64), carray(accepted, (many,), i32), carray(proposed_at, (many,), i64),
                            carray(proposed, (many,), i32), carray(verified, (many,), i32), carray(proposals, (many,), i32))
        flights = rec.Flights(carray(ring, (d,), flight_t), carray(batches, (d, seqs), entry_t),
                              carray(channel_tokens, (many,), i64), carray(load, (2, c), i64), carray(stage_free_ns, (many,), i64))
        pool = rec.Pool(carray(length, (seqs, g), i32), carray(gone, (seqs, g), i32), carray(published, (seqs, g), i32),
                        carray(nodes, (many,), node_t), carray(free, (many,), u32), carray(keys, (r.hash_entries,), key_t),
                        carray(table, (seqs, g, r.node_places), u32), carray(found, (g, r.node_places), u32))
        log = rec.Log(carray(steps, (many,), step_t), carray(batch, (many,), row_t), carray(admissions, (many, 3), i32),
                      carray(preempted, (many, 2), i32), carray(held, (many, g), i32))
        state = rec.State(
            core, views.requests_at(arrival_ns, prompt, output, priority, identity_offsets, shared, unique),
            views.queue_at(r, waiters, done, due, swapped), drafts, flights,
            views.served_at(first_scheduled_ns, first_token_ns, finish_ns, preemptions, cached_tokens, last_token_ns, by_tokens,
                            by_sequences, gap_counts), pool, log)
        tables = rec.Tables(
            views.stages_at(r, linear_ns, half_before_ns, half_after_ns, stage_layers, stage_tokens_ns, stage_sequences_ns,
                            host_ns),
            views.decodes_at(r, base_ns, slope_ns, spread_ns, inverse, knots, marks),
            views.chunks_at(r, prefill_ns, chunk_knots, chunk_marks, per_chunk, per_context, beside_knots, beside_ns,
                            beside_spread_ns),
            rec.DraftTables(carray(verify_base_ns, (many, r.context_cells), f64),
                            carray(verify_slope_ns, (many, r.context_cells), f64), carray(draft_tokens_ns, (many,), i64),
                            carray(draft_sequences_ns, (many,), i64)))
        return advance(until_ns, state, tables)

    return kernel


@functools.cache
def compiled() -> Callable[..., int]:
    """The entry, called with `until_ns` and the addresses of POINTERS."""
    return load_compiled(_entry, Path(__file__).parent, len(POINTERS), "the engine for requests out of step")


def call(until_ns: int, state: rec.State, tables: rec.Tables) -> int:
    """`advance`, compiled unless numba's JIT is disabled. `state.core.run` is the array that holds the record."""
    if config.DISABLE_JIT:
        return advance(until_ns, state._replace(core=state.core._replace(run=state.core.run[0])), tables)
    return compiled()(until_ns, *addresses(state, tables))
