"""Admission (rules 10-15): requests join from the head of the queue while tokens, seats and blocks suffice."""

from __future__ import annotations

import numpy as np

from simulator.engine.kernel.prefix_cache import find_prefix, publish, share_prefix, take_blocks
from simulator.engine.kernel.queue import push, take
from simulator.engine.kernel.records import PROMPT, Int, State
from simulator.engine.kernel.running import append_slot, blocks_for, full_blocks
from simulator.engine.kernel.serve import longest_chunk
from simulator.engine.kernel.windows import blocks_at_once
from simulator.pricing.compiled import callable_from_compiled, index


def admit(s: State) -> None:
    """Admits requests in the order of the queue; those that are part of a batch in flight are stepped over."""
    core, run, requests, queue, waiters = s.core, s.core.run, s.requests, s.queue, s.queue.waiters
    cap, place, aside = longest_chunk(core.run), run.stack - 1, np.int64(0)
    while run.budget > 0 and run.running < run.max_num_seqs:
        if run.by_priority:
            if run.stack == 0:
                break
            place = np.int64(0)
            r = index(waiters[index(0)])
            if queue.due[r] > run.delivered:
                take(place, core.run, requests, queue)
                aside += 1
                waiters[index(len(waiters) - aside)] = r
                continue
        else:
            while place >= 0 and queue.due[index(waiters[index(place)])] > run.delivered:
                place -= 1
            if place < 0 and run.head >= run.joined:
                break
            r = index(waiters[index(place)]) if place >= 0 else index(run.head)
        if not _start(r, cap, s):
            break
        if place >= 0:
            take(place, core.run, requests, queue)
            place -= 1
        else:
            run.head += 1
    for k in range(aside):
        push(np.int64(waiters[index(len(waiters) - 1 - k)]), run, requests, queue)


def _start(r: Int, cap: Int, s: State) -> bool:
    """Admits request r if it fits (11-15), with the blocks it finds in the prefix cache and its first chunk."""
    core, run, requests, queue, pool = s.core, s.core.run, s.requests, s.queue, s.pool
    known = np.int64(requests.prompt[r]) + queue.done[r]
    found = idle = own = computed = np.int64(0)
    if run.caching:
        found, idle, own = find_prefix(r, full_blocks(known - 1, core.run), core, requests, pool)
        computed = (found + own) * run.block_size
    swapped = np.int64(0)
    if run.swap:
        swapped = np.int64(queue.swapped[r])
        computed = max(computed, swapped)
    new, run.blocked = min(known - computed, cap), 0
    if new > run.budget:
        if not run.chunked:
            return False
        new = run.budget
    hits = found + own
    need = run.growing * blocks_for(computed + new, core.run) + run.fixed_blocks - hits
    whole = max(need, blocks_at_once(known, core) - hits) if run.full_gate else need
    margin = run.margin_blocks if run.running > 0 else np.int64(0)
    if whole + idle + own + margin > run.free:
        run.blocked = 1
        return False
    run.free -= need + idle + own
    slot = append_slot(r, core)
    row = core.slots[slot]
    row.kind, row.known, row.computed, row.chunk = PROMPT, known, computed, new
    for k in range(index(run.window_kinds)):
        core.gone[slot, k] = row.dropped = row.steady = 0
    core.entries[index(run.entries)] = slot
    run.entries += 1
    run.prompts += 1
    run.budget -= new
    if swapped > 0:
        if swapped > hits * run.block_size:
            run.swapped_blocks += blocks_for(swapped, core.run) - hits
        queue.swapped[r] = 0
    if run.channels:
        least = index(0)
        for c in range(index(1), index(run.channels)):
            if s.flights.channel_tokens[c] < s.flights.channel_tokens[least]:
                least = c
        row.channel = least
        s.flights.channel_tokens[least] += known
    if run.caching:
        share_prefix(slot, r, found, own, core, pool)
        take_blocks(need, core, pool)
        publish(slot, full_blocks(computed + new, core.run), core, s.requests, s.pool)
    if s.served.first_scheduled_ns[r] < 0:
        s.served.cached_tokens[r] = computed
    if run.logging:
        k = index(run.logged_admissions)
        s.log.admissions[k, 0], s.log.admissions[k, 1], s.log.admissions[k, 2] = run.steps, r, computed
    run.logged_admissions += 1
    return True


callable_from_compiled(__name__)
