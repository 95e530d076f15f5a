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
from typing import Any

import numpy as np
from numba import carray, cfunc, config, types

from simulator.engine import gap_histogram
from simulator.engine.kernel import records as rec
from simulator.engine.kernel import views
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
        join(core.run, s.requests, s.queue)
        if run.clock >= until_ns:
            return PAUSED
        if run.running + waiting_count(core.run) > 0:
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
        elif run.running + waiting_count(core.run) > 0:
            return STUCK
        else:
            return FINISHED


POINTERS = [name for part in (rec.Core, rec.Requests, rec.Queue, rec.Flights, rec.Served, rec.Pool, rec.Log, rec.StageTables,
                               rec.DecodeTables, rec.ChunkTables) for name in part._fields]


def _entry(version: int) -> Callable[..., int]:
    """The compiled function's source. `version` is part of numba's cache key, as a variable that the function closes over."""
    run_t, group_t, slot_t, flight_t, node_t, key_t = rec.RUN, rec.GROUP, rec.SLOT, rec.FLIGHT, rec.NODE, rec.KEY
    window_t = rec.WINDOW
    i64, i32, u32, many = np.int64, np.int32, np.uint32, views.MANY

    def kernel(until_ns, run, groups, slots, free_slots, events, least, residues, entries, windows, drops, gone,  # type: ignore[no-untyped-def]
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
                    carray(residues, (g, r.block_size), i32), carray(entries, (many,), u32), carray(windows, (many,), window_t),
                    carray(drops, (g, r.block_size), i32), carray(gone, (many, r.window_kinds), i32))
        flights = rec.Flights(carray(ring, (g,), flight_t), carray(dones, (g, r.max_num_seqs), u32),
                          carray(on_channels, (g, 2, c), i64), carray(channel_tokens, (many,), i64),
                          carray(yields_on, (g, c), i64), carray(load, (2, c), i64), carray(stage_free_ns, (many,), i64))
        pool = rec.Pool(carray(nodes, (many,), node_t), carray(free, (many,), u32), carray(keys, (r.hash_entries,), key_t),
                    carray(table, (r.max_num_seqs, r.node_places), u32), carray(found, (many,), u32), carray(own_run, (many,), u32))
        state = rec.State(
            core, views.requests_at(arrival_ns, prompt, output, priority, identity_offsets, shared, unique),
            views.queue_at(r, waiters, done, due, swapped), flights,
            views.served_at(first_scheduled_ns, first_token_ns, finish_ns, preemptions, cached_tokens, last_token_ns, by_tokens,
                            by_sequences, gap_counts), pool, views.log_at(steps, batch, admissions, preempted))
        tables = rec.Tables(
            views.stages_at(r, linear_ns, half_before_ns, half_after_ns, stage_layers, stage_tokens_ns, stage_sequences_ns,
                            host_ns),
            views.decodes_at(r, base_ns, slope_ns, spread_ns, inverse, knots, marks),
            views.chunks_at(r, prefill_ns, chunk_knots, chunk_marks, per_chunk, per_context, beside_knots, beside_ns,
                            beside_spread_ns))
        return advance(until_ns, state, tables)

    return kernel


@functools.cache
def compiled() -> Callable[..., int]:
    """The entry, called with `until_ns` and the addresses of POINTERS."""
    return load_compiled(_entry, Path(__file__).parent, len(POINTERS), "the engine")


def load_compiled(entry: Callable[[int], Callable[..., int]], folder: Path, arrays: int, what: str) -> Callable[..., int]:
    """An entry whose sources lie in `folder`, compiled, or loaded from numba's cache (beside the sources; where that cannot be
    written, in the user's cache directory or NUMBA_CACHE_DIR). Says so where it takes long."""
    others = (Path(module.__file__ or "") for module in (formulas, helpers, gap_histogram))
    sources = [*sorted({*folder.glob("*.py"), *Path(__file__).parent.glob("*.py")}), *others]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()
    signature = types.int64(types.int64, *[types.voidptr] * arrays)
    notice = threading.Timer(2.0, lambda: print(f"compiling {what}, once on this machine: 20 to 50 s", file=sys.stderr))
    notice.daemon = True
    notice.start()
    gc.disable()  # the compiler's many objects are in use until it is done
    try:
        made = cfunc(signature, cache=True)(entry(int.from_bytes(digest[:7], "big")))
    finally:
        gc.enable()
        notice.cancel()
    call: Callable[..., int] = made.ctypes
    return call


def call(until_ns: int, state: rec.State, tables: rec.Tables) -> int:
    """`advance`, compiled unless numba's JIT is disabled. `state.core.run` is the array that holds the record."""
    if config.DISABLE_JIT:
        return advance(until_ns, state._replace(core=state.core._replace(run=state.core.run[0])), tables)
    return compiled()(until_ns, *addresses(state, tables))


def addresses(state: Any, tables: Any) -> list[int]:
    """Where the arrays lie, in the order of an entry's arguments."""
    return [array.__array_interface__["data"][0] for part in (*state, *tables) for array in part]
