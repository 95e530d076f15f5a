"""Admission (rules 10-15, S9, S10, G14): requests join from the head of the queue while tokens, seats and blocks suffice."""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.chunks import cut
from simulator.engine.dense.prefix_cache import find_hit, idle_in_hit, is_being_computed, share_hit
from simulator.engine.dense.records import Core, State
from simulator.engine.dense.serve import add_entry
from simulator.engine.dense.tables import lacking_after_hit
from simulator.engine.kernel.queue import push, take
from simulator.engine.kernel.records import Int
from simulator.engine.kernel.running import blocks_for
from simulator.engine.kernel.serve import longest_chunk
from simulator.pricing.compiled import callable_from_compiled, index


def admit(s: State) -> None:
    """Admits requests in the order of the queue; those that are part of a batch in flight are stepped over."""
    core, run, requests, queue, waiters = s.core, s.core.run, s.requests, s.queue, s.queue.waiters
    cap, place, aside, served = longest_chunk(core.run), run.stack - 1, np.int64(0), run.entries
    while run.budget > run.drafting and run.running < run.max_num_seqs:
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
        if not _start(r, cap, served, s):
            break
        if place >= 0:
            take(place, core.run, requests, queue)
            place -= 1
        else:
            run.head += 1
    for k in range(aside):
        push(np.int64(waiters[index(len(waiters) - 1 - k)]), run, requests, queue)


def _start(r: Int, cap: Int, served: Int, s: State) -> bool:
    """Admits request r if it fits, with the blocks it finds in the prefix cache and its first chunk. `served`: running requests in
    this pass."""
    core, run, queue = s.core, s.core.run, s.queue
    prompt = np.int64(s.requests.prompt[r])
    known, hit, left = prompt + queue.done[r], np.int64(0), run.budget - run.drafting
    run.junction = 0
    if run.caching:
        hit = find_hit(r, known, core, s.requests, s.pool)  # 11
    computed = max(hit, np.int64(queue.swapped[r])) if run.swap else hit
    new, checked = min(known - computed, cap), np.int64(0)  # 12
    if new > left and not run.chunked:
        return False
    new = cut(min(new, left), computed, prompt, known, run.junction, core)
    if _is_padded(known, computed, served, core):
        new, checked = 1 + run.draft_tokens, run.draft_tokens
        if new > left:
            return False
    if new <= 0 or (run.keeps_states and is_being_computed(hit, core, s.pool)):  # G28
        return False
    free = run.free - (run.margin_blocks if run.running > 0 else np.int64(0))  # 14
    if run.caching:
        free -= idle_in_hit(hit, core, s.pool)
    hold = min(computed + new + run.lookahead, run.max_model_len)
    if lacking_after_hit(hit, hold, False, core) > free:
        return False
    if run.full_gate and lacking_after_hit(hit, known, True, core) > free:  # 13
        return False
    slot = index(core.free_slots[index(run.max_num_seqs - run.running - 1)])
    core.order[index(run.running)] = slot
    run.running += 1
    run.order += 1
    row = core.slots[slot]
    row.request, row.order, row.last, row.previous = r, run.order, 0, 0
    row.prompt, row.known, row.goal, row.computed = prompt, known, prompt + s.requests.output[r], computed
    row.pending = row.drafts = row.flying = row.covered = row.passes = row.prefilling = 0
    row.junction = run.junction
    if run.draft_tokens and not run.recorded:
        row.luck = s.drafts.luck[r]
    if run.swap:
        if queue.swapped[r] > hit:
            run.swapped_blocks += blocks_for(np.int64(queue.swapped[r]), core.run) - blocks_for(hit, core.run)
        queue.swapped[r] = 0
    if run.channels:
        least = index(0)
        for c in range(index(1), index(run.channels)):
            if s.flights.channel_tokens[c] < s.flights.channel_tokens[least]:
                least = c
        row.channel = least
        s.flights.channel_tokens[least] += known
    if run.caching:
        share_hit(slot, hit, core, s.pool)
    add_entry(slot, new, checked, int(checked > 0), s)
    if s.served.first_scheduled_ns[r] < 0:
        s.served.cached_tokens[r] = computed
    if run.logging:
        k = index(run.logged_admissions)
        s.log.admissions[k, 0], s.log.admissions[k, 1], s.log.admissions[k, 2] = run.steps, r, computed
    run.logged_admissions += 1
    return True


def _is_padded(known: Int, computed: Int, served: Int, core: Core) -> bool:
    """Whether a request with one token left is admitted with dummy drafts, so that all of the batch have as many (S10)."""
    run = core.run
    return (run.draft_tokens > 0 and known - computed == 1 and run.prefilling == 0 and (served > 0 or computed > 0)
            and computed + run.draft_tokens + 2 <= run.max_model_len)


callable_from_compiled(__name__)
