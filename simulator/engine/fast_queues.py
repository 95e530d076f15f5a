"""Mutable state of the general compiled engine, and its waiting queue.

FCFS: preempted requests are a stack before all others, and those that were never admitted are a range of the trace.
Priority: a heap ordered by (priority, arrival, id).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from simulator.engine.fast_arrays import Array, write


class Queues(NamedTuple):
    """Mutable scheduler state."""

    state: Array  # int64 [STATE], indices below
    running: Array  # int32 [max_num_seqs] requests in order of admission
    waiting: Array  # int32 [n]: FCFS, stack of preempted requests, the head last; priority, a heap
    computed: Array  # int32 [n] tokens whose KV is computed or scheduled
    delivered: Array  # int32 [n] outputs delivered
    pending: Array  # int8 [n] outputs scheduled and not delivered (asynchronous only)
    in_flight: Array  # int8 [n] batches in flight that hold the request
    slot: Array  # int32 [n] block table of a running request, -1 for all others
    swapped: Array  # int32 [n] tokens whose KV lies in host memory; empty without swapping
    channel: Array  # int32 [n] PIM channel of a running request; empty without channels
    channel_tokens: Array  # int64 [channels] known tokens of the running requests on each channel
    channel_load: Array  # int64 [2, channels] decodes of the batch, and their context, on each channel
    batch_request: Array  # int32 [depth, max_num_seqs]
    batch_new: Array  # int32 [depth, max_num_seqs]
    batch_yields: Array  # bool [depth, max_num_seqs]
    batch_size: Array  # int64 [depth]
    batch_end_ns: Array  # int64 [depth]
    batch_counts: Array  # int64 [depth] 1: scheduled a token or preempted somebody
    stage_free_ns: Array  # int64 [stages]


(
    CLOCK,
    FREE,
    RUNNING,
    WAITING,  # entries of `waiting`
    HEAD,  # first request of the trace that was never admitted (priority: equal to JOINED)
    JOINED,  # first request that has not arrived
    OLDEST,  # ring index of the oldest batch in flight
    FLYING,
    COUNTING,  # batches in flight that scheduled a token or preempted somebody
    SWAPPED_BLOCKS,  # moved to or from host memory since the last batch
    IDLE_PREEMPTIONS,  # since an output token was delivered
    LAST_DECISION_NS,  # of the last step
    LAST_WAITING,
    LAST_START_NS,  # of the last batch that was not empty
    LAST_END_NS,
    LAST_USED,
    FINISHED,  # requests
    STATE,
) = range(18)

_I8, _I32, _I64 = types.int8, types.int32, types.int64
QUEUES = types.NamedTuple(
    [write(_I64)]
    + [write(_I32)] * 4
    + [write(_I8)] * 2
    + [write(_I32)] * 3
    + [write(_I64), write(_I64, 2)]
    + [write(_I32, 2)] * 2
    + [write(types.boolean, 2)]
    + [write(_I64)] * 4,
    Queues,
)


def waiting_count(queues):
    """Length of the queue."""
    return queues.state[WAITING] + queues.state[JOINED] - queues.state[HEAD]


def leave_stack(place, queues):
    for i in range(place, queues.state[WAITING] - 1):
        queues.waiting[i] = queues.waiting[i + 1]
    queues.state[WAITING] -= 1


def _before(a, b, requests):
    """Whether request a is served before b: smaller priority, then earlier arrival, then smaller id."""
    if requests.priority[a] != requests.priority[b]:
        return requests.priority[a] < requests.priority[b]
    return a < b


def push(r, requests, queues):
    """Adds r to the waiting heap."""
    heap, i = queues.waiting, queues.state[WAITING]
    queues.state[WAITING] += 1
    while i > 0 and _before(r, heap[(i - 1) >> 1], requests):
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = r


def pop(requests, queues):
    """Takes the first request off the waiting heap."""
    first = queues.waiting[0]
    _remove_from_heap(0, requests, queues)
    return first


def _remove_from_heap(i, requests, queues):
    heap = queues.waiting
    queues.state[WAITING] -= 1
    size = queues.state[WAITING]
    if i == size:
        return
    r = heap[size]
    while i > 0 and _before(r, heap[(i - 1) >> 1], requests):
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and _before(heap[child + 1], heap[child], requests):
            child += 1
        if not _before(heap[child], r, requests):
            break
        heap[i] = heap[child]
        i = child
    heap[i] = r


def leave_waiting(r, requests, queues, limits):
    """Takes out a preempted request that finished by a token that was in flight."""
    for i in range(queues.state[WAITING]):
        if queues.waiting[i] == r:
            if limits.by_priority:
                _remove_from_heap(i, requests, queues)
            else:
                leave_stack(i, queues)
            break


def new_queues(
    requests: int, max_num_seqs: int, depth: int, stages: int, usable_blocks: int, *, by_priority: bool, swap: bool, channels: int
) -> Queues:
    """Queues before the first arrival."""
    stack = (depth + 1) * max_num_seqs + 1  # FCFS: newcomers pass preempted requests only while those are in flight
    state = np.zeros(STATE, np.int64)
    state[FREE] = usable_blocks
    return Queues(
        state,
        np.zeros(max_num_seqs, np.int32),
        np.zeros(stack + requests if by_priority else stack, np.int32),
        np.zeros(requests, np.int32),
        np.zeros(requests, np.int32),
        np.zeros(requests, np.int8),
        np.zeros(requests, np.int8),
        np.full(requests, -1, np.int32),
        np.zeros(requests if swap else 0, np.int32),
        np.zeros(requests if channels else 0, np.int32),
        np.zeros(max(channels, 1), np.int64),
        np.zeros((2, max(channels, 1)), np.int64),
        np.zeros((depth, max_num_seqs), np.int32),
        np.zeros((depth, max_num_seqs), np.int32),
        np.zeros((depth, max_num_seqs), np.bool_),
        np.zeros(depth, np.int64),
        np.zeros(depth, np.int64),
        np.zeros(depth, np.int64),
        np.zeros(stages, np.int64),
    )
