"""The waiting requests: a stack before a range of the trace (FCFS), or a heap by (priority, arrival, request)."""

from __future__ import annotations

import numpy as np

from simulator.engine.kernel.records import ALL, Int, Queue, Record, Requests
from simulator.pricing.compiled import callable_from_compiled, index


def waiting_count(run: Record) -> Int:
    """Length of the queue."""
    return run.stack + run.joined - run.head


def _before(a: Int, b: Int, requests: Requests) -> bool:
    """Whether request a is served before b (1): smaller priority, then earlier arrival, then smaller number."""
    first, second = requests.priority[index(a)], requests.priority[index(b)]
    return first < second or (first == second and a < b)


def _sift(i: Int, r: Int, size: Int, heap: np.ndarray, requests: Requests) -> None:
    """Puts request r at place i of a heap, or where it belongs above or below."""
    while i > 0 and _before(r, heap[index((i - 1) >> 1)], requests):
        heap[index(i)] = heap[index((i - 1) >> 1)]
        i = (i - 1) >> 1
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and _before(heap[index(child + 1)], heap[index(child)], requests):
            child += 1
        if not _before(heap[index(child)], r, requests):
            break
        heap[index(i)] = heap[index(child)]
        i = child
    heap[index(i)] = r


def push(r: Int, run: Record, requests: Requests, queue: Queue) -> None:
    """Adds request r to the heap, or on top of the stack."""
    run.stack += 1
    if run.by_priority:
        _sift(run.stack - 1, np.int64(r), run.stack, queue.waiters, requests)
    else:
        queue.waiters[index(run.stack - 1)] = r


def take(place: Int, run: Record, requests: Requests, queue: Queue) -> None:
    """Removes the entry at this place of the heap or the stack."""
    waiters = queue.waiters
    run.stack -= 1
    if run.by_priority:
        if place < run.stack:
            _sift(place, np.int64(waiters[index(run.stack)]), run.stack, waiters, requests)
    else:
        for i in range(index(place), index(run.stack)):
            waiters[i] = waiters[index(i + 1)]


def join(run: Record, requests: Requests, queue: Queue) -> None:
    """Hands over every request that has arrived and, in a closed loop, has a client that waits for nothing."""
    given = min(run.requests, run.clients + run.finished)
    while run.joined < given and requests.arrival_ns[index(run.joined)] <= run.clock:
        if run.by_priority:
            push(run.joined, run, requests, queue)
            run.head += 1
            run.blocked = 0
        run.joined += 1
        if run.threshold:
            run.blocked = 0


def drop_finished(run: Record, requests: Requests, queue: Queue) -> None:
    """Preempted requests whose last token has just been delivered leave the queue (20)."""
    place = run.stack - 1
    while place >= 0:
        r = index(queue.waiters[index(place)])
        if queue.done[r] == ALL and queue.due[r] <= run.delivered:
            take(place, run, requests, queue)
            run.leaving_queue -= 1
            run.finished += 1
            place = run.stack
        place -= 1


callable_from_compiled(__name__)
