"""Where a chunk may end, so that drafters (S6) and states (G24) can go on from there."""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.records import Core
from simulator.engine.dense.tables import whole
from simulator.engine.kernel.records import Int, Record
from simulator.pricing.compiled import callable_from_compiled


def cut(new: Int, computed: Int, prompt: Int, known: Int, junction: Int, core: Core) -> Int:
    """What of `new` tokens behind the first `computed` makes such a chunk; 0 or less: none yet."""
    run, left = core.run, known - computed
    if run.keeps_states:
        new = _aligned(computed, new, prompt, known, junction, run)
    return left - run.reads_ahead if run.reads_ahead > 1 and 0 < left - new < run.reads_ahead else new


def _aligned(start: Int, new: Int, prompt: Int, known: Int, junction: Int, run: Record) -> Int:
    """Of `new` tokens after the first `start`, how many to compute so that a state is kept at the end of a block."""
    last, size, end = max(prompt, known - 1), run.unit, start + new
    if start >= last:
        return new
    if end < last:
        full = whole(end, size) * size
        if full > start:
            end = full
        elif size <= (min(run.token_budget, run.threshold) if run.threshold else run.token_budget):
            return np.int64(0)
    stop = end
    for at in (whole(start + size - 1, size) * size, whole(known - 1, size) * size):
        if start < at < stop:
            stop = at
    if start < junction < end:
        at = start + whole(junction - start, size) * size
        if start < at < stop:
            stop = at
    return stop - start


callable_from_compiled(__name__)
