"""What the compiled engines work on: named tuples of arrays and integers, and their numba types.

Everything that is only read is declared readonly, so that arrays mapped from a shared object store are taken as they
are, by the same compiled function as ordinary ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from simulator.engine.gap_histogram import BINS

Array = NDArray[Any]


class Requests(NamedTuple):
    """The trace. Shapes [n]; `priority` and the identities are empty where they are not used."""

    arrival_ns: Array  # int64
    prompt: Array  # int32
    output: Array  # int32 tokens that it will get
    priority: Array  # int32
    identity_offsets: Array  # int64 [n + 1], `shared` and `unique`: see identities.BlockIdentities
    shared: Array  # int64
    unique: Array  # int64


class Limits(NamedTuple):
    """Scheduler limits as integers; `margin_blocks` is the watermark in blocks, `depth` the batches in flight."""

    max_num_seqs: int
    token_budget: int
    block_size: int
    usable_blocks: int
    max_model_len: int
    long_prefill_threshold: int
    margin_blocks: int
    depth: int
    channels: int
    most_idle_preemptions: int  # in a row, no token in between: more are a livelock
    block_shift: int  # log2 of block_size where it is a power of two, else -1
    chunked: bool
    caching: bool
    by_priority: bool
    asynchronous: bool
    full_sequence_gate: bool
    swap: bool
    clients: int  # of a closed loop, or at least as many as there are requests
    more: bool  # requests are to come after these (see `stream`)


class Outcome(NamedTuple):
    """What a run writes: request times (shapes [n], see EngineResult), histograms, and totals by index."""

    first_scheduled_ns: Array  # int64
    first_token_ns: Array  # int64
    finish_ns: Array  # int64
    preemptions: Array  # int32
    cached_tokens: Array  # int32
    steps_by_tokens: Array  # int64
    steps_by_sequences: Array  # int64
    totals: Array  # int64 [TOTALS]
    gap_counts: Array  # int64 [gaps.BINS], or empty where gaps between tokens are not counted
    last_token_ns: Array  # int64 [n] where gaps are counted, else empty: a request's last token, kept where it is needed


class Log(NamedTuple):
    """The step log's arrays (see StepLog); all empty when no log is wanted."""

    scheduled_ns: Array
    start_ns: Array
    end_ns: Array
    n: Array  # int32 from here on
    tokens: Array
    free_blocks: Array
    waiting: Array
    running: Array
    batch_request: Array
    batch_new_tokens: Array
    admissions: Array  # [admissions, 3]
    preempted: Array  # [preemptions, 2]


(
    STEPS,
    MAKESPAN_NS,
    BLOCKS_NS,
    DECODE_NS,
    PREFILL_NS,
    DECODE_SEQUENCES,
    DECODE_CONTEXT,
    PREFILL_CHUNKS,
    PREFILL_TOKENS,
    PREFILL_CONTEXT,
    PREFILL_PAIRS,
    USED_BLOCK_NS,
    PEAK_USED_BLOCKS,
    WAITING_NS,
    ENTRIES,
    ADMISSIONS,
    PREEMPTIONS,
    TOTALS,
) = range(18)


DONE_ALL, STUCK, LIVELOCK, PREEMPTS, MORE = range(5)  # how a run ended; PREEMPTS: given up, see fast_prefix


def _array(dtype: Any, dimensions: int = 1, *, readonly: bool = False) -> Any:
    return types.Array(dtype, dimensions, "C", readonly=readonly)


def read(dtype: Any, dimensions: int = 1) -> Any:
    """numba type of an array that is only read."""
    return _array(dtype, dimensions, readonly=True)


def write(dtype: Any, dimensions: int = 1) -> Any:
    """numba type of an array that is written."""
    return _array(dtype, dimensions)


_I32, _I64, _BOOL = types.int32, types.int64, types.boolean
REQUESTS = types.NamedTuple(
    [read(_I64), read(_I32), read(_I32), read(_I32), read(_I64), read(_I64), read(_I64)],
    Requests,
)
LIMITS = types.NamedTuple([_I64] * 11 + [_BOOL] * 6 + [_I64, _BOOL], Limits)
OUTCOME = types.NamedTuple([write(_I64)] * 3 + [write(_I32)] * 2 + [write(_I64)] * 5, Outcome)
LOG = types.NamedTuple([write(_I64)] * 3 + [write(_I32)] * 7 + [write(_I32, 2)] * 2, Log)


def new_outcome(requests: int, token_budget: int, max_num_seqs: int, *, gaps: bool = False) -> Outcome:
    """Result arrays of a run that has not begun: times -1, counts 0."""
    times = np.full((3, requests), -1, np.int64)
    counts = np.zeros((2, requests), np.int32)
    return Outcome(
        times[0],
        times[1],
        times[2],
        counts[0],
        counts[1],
        np.zeros(token_budget + 1, np.int64),
        np.zeros(max_num_seqs + 1, np.int64),
        np.zeros(TOTALS, np.int64),
        np.zeros(BINS if gaps else 0, np.int64),
        np.zeros(requests if gaps else 0, np.int64),
    )
