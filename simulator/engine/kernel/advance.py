"""The main loop, `advance`, and its compiled entry point.

`advance` mirrors `reference.run`, which explains it. It goes on from the state that the arrays hold and stops before the first
decision at or after `until_ns`, so streams, closed loops and several replicas in one event loop are callers of it.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import carray, cfunc, config, types

from simulator.engine import gap_histogram
from simulator.engine.kernel import records as rec
from simulator.engine.kernel.queue import join, waiting_count
from simulator.engine.kernel.quiet import decode_quietly, is_quiet
from simulator.engine.kernel.step import decide, deliver
from simulator.pricing import compiled as helpers
from simulator.pricing import step_time as formulas
from simulator.pricing.compiled import index, once

FINISHED, PAUSED, STUCK, LIVELOCK = range(4)  # how `advance` ended; FINISHED: nothing is left to do


@once
def advance(until_ns: int, s: rec.State, tables: rec.Tables) -> int:
    """Serves until every given request is finished, or until `until_ns`."""
    core, run = s.core, s.core.run
    while True:
        join(core, s.requests, s.queue)
        if run.clock >= until_ns:
            return PAUSED
        if run.running + waiting_count(core) > 0:
            if is_quiet(core, s.flights) and decode_quietly(until_ns, core, s.requests, s.flights, s.served, s.pool, tables) > 0:
                continue
            decide(s, tables)
            if run.idle_preemptions > run.most_idle_preemptions:
                return LIVELOCK
            if run.decided - run.delivered < run.depth:
                continue
        if run.nonempty_in_flight > 0:
            deliver(core, s.requests, s.queue, s.flights, s.pool)
        elif run.joined < min(run.requests, run.clients + run.finished):
            run.delivered, run.oldest = run.decided, run.newest
            run.clock = max(run.clock, s.requests.arrival_ns[index(run.joined)])
        elif run.running + waiting_count(core) > 0:
            return STUCK
        else:
            return FINISHED


_RECORDS = {"run": rec.RUN, "groups": rec.GROUP, "slots": rec.SLOT, "ring": rec.FLIGHT, "nodes": rec.NODE,
            "keys": rec.KEY, "steps": rec.STEP}
_PARTS = (rec.Core, rec.Requests, rec.Queue, rec.Flights, rec.Served, rec.Pool, rec.Log, rec.StageTables, rec.DecodeTables,
          rec.ChunkTables)
POINTERS = [name for part in _PARTS for name in part._fields]


def _entry(version: int) -> Callable[..., int]:
    """The compiled function's source. `version` is part of numba's cache key, as a variable that the function closes over."""
    run_t, group_t, slot_t, flight_t, node_t, key_t, step_t = _RECORDS.values()
    i64, i32, u32, f64 = np.int64, np.int32, np.uint32, np.float64
    many = 1 << 40  # length of an array whose length nobody asks for

    def kernel(until_ns, run, groups, slots, free_slots, events, least, residues, entries,  # type: ignore[no-untyped-def]
               arrival_ns, prompt, output, priority, identity_offsets, shared, unique, waiters, done, due, swapped,
               ring, dones, on_channels, channel_tokens, yields_on, load, stage_free_ns,
               first_scheduled_ns, first_token_ns, finish_ns, preemptions, cached_tokens, last_token_ns, by_tokens, by_sequences,
               gap_counts, nodes, free, keys, table, found, own_run, steps, batch, admissions, preempted,
               linear_ns, half_before_ns, half_after_ns, stage_layers, stage_tokens_ns, stage_sequences_ns, host_ns,
               base_ns, slope_ns, spread_ns, inverse, knots, marks,
               prefill_ns, chunk_knots, chunk_marks, per_chunk, per_context, beside_knots, beside_ns, beside_spread_ns):
        r = carray(run, (1,), run_t)[0]
        g, c = r.depth + version * 0, r.channels
        core = rec.Core(r, carray(groups, (g,), group_t), carray(slots, (many,), slot_t), carray(free_slots, (many,), u32),
                    carray(events, (g, r.slot_places), i64), carray(least, (g, r.parts), i64),
                    carray(residues, (g, r.block_size), i32), carray(entries, (many,), u32))
        requests = rec.Requests(carray(arrival_ns, (many,), i64), carray(prompt, (many,), i32), carray(output, (many,), i32),
                            carray(priority, (many,), i32), carray(identity_offsets, (many,), i64), carray(shared, (many,), i64),
                            carray(unique, (many,), i64))
        queue = rec.Queue(carray(waiters, (r.waiter_places,), i32), carray(done, (many,), i32), carray(due, (many,), i32),
                      carray(swapped, (many,), i32))
        flights = rec.Flights(carray(ring, (g,), flight_t), carray(dones, (g, r.max_num_seqs), u32),
                          carray(on_channels, (g, 2, c), i64), carray(channel_tokens, (many,), i64),
                          carray(yields_on, (g, c), i64), carray(load, (2, c), i64), carray(stage_free_ns, (many,), i64))
        served = rec.Served(carray(first_scheduled_ns, (many,), i64), carray(first_token_ns, (many,), i64),
                        carray(finish_ns, (many,), i64), carray(preemptions, (many,), i32), carray(cached_tokens, (many,), i32),
                        carray(last_token_ns, (many,), i64), carray(by_tokens, (many,), i64), carray(by_sequences, (many,), i64),
                        carray(gap_counts, (many,), i64))
        pool = rec.Pool(carray(nodes, (many,), node_t), carray(free, (many,), u32), carray(keys, (r.hash_entries,), key_t),
                    carray(table, (r.max_num_seqs, r.node_places), u32), carray(found, (many,), u32), carray(own_run, (many,), u32))
        log = rec.Log(carray(steps, (many,), step_t), carray(batch, (many, 2), i32), carray(admissions, (many, 3), i32),
                  carray(preempted, (many, 2), i32))
        tokens, sequences = r.token_counts, r.sequence_counts
        stages = rec.StageTables(carray(linear_ns, (many,), i64), carray(half_before_ns, (many,), i64),
                             carray(half_after_ns, (many,), i64), carray(stage_layers, (many,), i64),
                             carray(stage_tokens_ns, (r.stages, tokens), i64),
                             carray(stage_sequences_ns, (r.stages, sequences), i64), carray(host_ns, (many,), i64))
        decodes = rec.DecodeTables(carray(base_ns, (many, r.context_cells), f64), carray(slope_ns, (many, r.context_cells), f64),
                               carray(spread_ns, (many,), f64), carray(inverse, (many,), f64),
                               carray(knots, (r.context_knots,), f64), carray(marks, (r.context_marks,), i32))
        chunks = rec.ChunkTables(carray(prefill_ns, (many, r.context_knots), f64), carray(chunk_knots, (r.chunk_knots,), f64),
                             carray(chunk_marks, (r.chunk_marks,), i32), carray(per_chunk, (many,), f64),
                             carray(per_context, (many,), f64), carray(beside_knots, (r.beside_knots,), f64),
                             carray(beside_ns, (many, r.beside_counts, r.context_knots), f64),
                                 carray(beside_spread_ns, (many,), f64))
        return advance(until_ns, rec.State(core, requests, queue, flights, served, pool, log), rec.Tables(stages, decodes, chunks))

    return kernel


@functools.cache
def compiled() -> Callable[..., int]:
    """The entry, called with `until_ns` and the addresses of POINTERS: compiled, or loaded from numba's cache (beside the sources;
    where that cannot be written, in the user's cache directory or NUMBA_CACHE_DIR). Says so where it takes long."""
    others = (Path(module.__file__ or "") for module in (formulas, helpers, gap_histogram))
    sources = [*sorted(Path(__file__).parent.glob("*.py")), *others]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()
    signature = types.int64(types.int64, *[types.voidptr] * len(POINTERS))
    notice = threading.Timer(2.0, lambda: print("compiling the engine, once on this machine: about 20 s", file=sys.stderr))
    notice.daemon = True
    notice.start()
    gc.disable()  # the compiler's many objects are in use until it is done
    try:
        made = cfunc(signature, cache=True)(_entry(int.from_bytes(digest[:7], "big")))
    finally:
        gc.enable()
        notice.cancel()
    call: Callable[..., int] = made.ctypes
    return call


def call(until_ns: int, state: rec.State, tables: rec.Tables) -> int:
    """`advance`, compiled unless numba's JIT is disabled. `state.core.run` is the array that holds the record."""
    if config.DISABLE_JIT:
        return advance(until_ns, state._replace(core=state.core._replace(run=state.core.run[0])), tables)
    return compiled()(until_ns, *(array.__array_interface__["data"][0] for part in (*state, *tables) for array in part))
