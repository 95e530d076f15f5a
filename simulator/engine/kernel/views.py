"""The arrays of a run as compiled code sees them, made from their addresses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from simulator.engine.kernel import records as rec
from simulator.pricing.compiled import callable_from_compiled

I64, I32, U32, F64 = np.int64, np.int32, np.uint32, np.float64
STEP = rec.STEP
MANY = 1 << 40  # length of an array whose length nobody asks for
Address = Any


def requests_at(arrival_ns: Address, prompt: Address, output: Address, priority: Address, identity_offsets: Address,
                shared: Address, unique: Address) -> rec.Requests:  # fmt: skip
    """The trace."""
    return rec.Requests(carray(arrival_ns, (MANY,), I64), carray(prompt, (MANY,), I32), carray(output, (MANY,), I32),
                        carray(priority, (MANY,), I32), carray(identity_offsets, (MANY,), I64), carray(shared, (MANY,), I64),
                        carray(unique, (MANY,), I64))


def queue_at(run: rec.Record, waiters: Address, done: Address, due: Address, swapped: Address) -> rec.Queue:
    """The queue."""
    return rec.Queue(carray(waiters, (run.waiter_places,), I32), carray(done, (MANY,), I32), carray(due, (MANY,), I32),
                     carray(swapped, (MANY,), I32))


def served_at(first_scheduled_ns: Address, first_token_ns: Address, finish_ns: Address, preemptions: Address,
              cached_tokens: Address, last_token_ns: Address, by_tokens: Address, by_sequences: Address,
              gaps: Address) -> rec.Served:  # fmt: skip
    """What a run writes."""
    return rec.Served(carray(first_scheduled_ns, (MANY,), I64), carray(first_token_ns, (MANY,), I64),
                      carray(finish_ns, (MANY,), I64), carray(preemptions, (MANY,), I32), carray(cached_tokens, (MANY,), I32),
                      carray(last_token_ns, (MANY,), I64), carray(by_tokens, (MANY,), I64), carray(by_sequences, (MANY,), I64),
                      carray(gaps, (MANY,), I64))


def log_at(steps: Address, batch: Address, admissions: Address, preempted: Address) -> rec.Log:
    """The step log."""
    return rec.Log(carray(steps, (MANY,), STEP), carray(batch, (MANY, 2), I32), carray(admissions, (MANY, 3), I32),
                   carray(preempted, (MANY, 2), I32))


def stages_at(run: rec.Record, linear_ns: Address, half_before_ns: Address, half_after_ns: Address, stage_layers: Address,
              stage_tokens_ns: Address, stage_sequences_ns: Address, host_ns: Address) -> rec.StageTables:  # fmt: skip
    """The tables of a batch but for attention."""
    return rec.StageTables(carray(linear_ns, (MANY,), I64), carray(half_before_ns, (MANY,), I64),
                           carray(half_after_ns, (MANY,), I64), carray(stage_layers, (MANY,), I64),
                           carray(stage_tokens_ns, (run.stages, run.token_counts), I64),
                           carray(stage_sequences_ns, (run.stages, run.sequence_counts), I64), carray(host_ns, (MANY,), I64))


def decodes_at(run: rec.Record, base_ns: Address, slope_ns: Address, spread_ns: Address, inverse: Address, knots: Address,
               marks: Address) -> rec.DecodeTables:  # fmt: skip
    """The tables of decode attention."""
    return rec.DecodeTables(carray(base_ns, (MANY, run.context_cells), F64), carray(slope_ns, (MANY, run.context_cells), F64),
                            carray(spread_ns, (MANY,), F64), carray(inverse, (MANY,), F64),
                            carray(knots, (run.context_knots,), F64), carray(marks, (run.context_marks,), I32))


def chunks_at(run: rec.Record, prefill_ns: Address, chunk_knots: Address, chunk_marks: Address, per_chunk: Address,
              per_context: Address, beside_knots: Address, beside_ns: Address, beside_spread_ns: Address) -> rec.ChunkTables:
    """The tables of prefill attention."""
    return rec.ChunkTables(carray(prefill_ns, (MANY, run.context_knots), F64), carray(chunk_knots, (run.chunk_knots,), F64),
                           carray(chunk_marks, (run.chunk_marks,), I32), carray(per_chunk, (MANY,), F64),
                           carray(per_context, (MANY,), F64), carray(beside_knots, (run.beside_knots,), F64),
                           carray(beside_ns, (MANY, run.beside_counts, run.context_knots), F64),
                           carray(beside_spread_ns, (MANY,), F64))


callable_from_compiled(__name__)
