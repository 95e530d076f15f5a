"""Service of the running requests one by one (rules 5-9, S2), and preemption (8, 21)."""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.chunks import cut
from simulator.engine.dense.prefix_cache import publish
from simulator.engine.dense.records import Core, State
from simulator.engine.dense.tables import extend, free_passed, lacking, release
from simulator.engine.kernel.queue import push
from simulator.engine.kernel.records import Int, Requests
from simulator.engine.kernel.running import blocks_for
from simulator.engine.kernel.serve import longest_chunk
from simulator.pricing.compiled import callable_from_compiled, index


def serve_running(s: State) -> None:
    """Gives every running request its tokens, preempting where blocks are short. The drafter's slots cost budget, too."""
    core, run, slots, order = s.core, s.core.run, s.core.slots, s.core.order
    run.entries = run.preempted = run.prefilling = 0
    run.budget = run.token_budget
    cap, i, ended = longest_chunk(core.run), np.int64(0), False
    while i < run.running and run.budget > run.drafting and not ended:
        slot = index(order[index(i)])
        row = slots[slot]
        computed, known = np.int64(row.computed), np.int64(row.known + row.pending)
        new = min(known + row.drafts - computed, cap, run.budget - run.drafting, run.max_model_len - computed - 1)  # 6
        if run.reads_ahead > 1 or run.keeps_states:
            new = cut(new, computed, np.int64(row.prompt), np.int64(row.known), np.int64(row.junction), core)
        if new > 0 and not (row.pending > 0 and computed + 2 - row.pending >= row.goal):
            settled = computed - row.flying
            if settled >= row.passes:
                free_passed(slot, settled, core, s.pool)
            hold = min(computed + new + run.lookahead, run.max_model_len)
            if hold > row.covered:
                needed = lacking(slot, hold, core, s.pool)  # 7
                while needed > run.free and not ended:
                    victim = find_victim(core, s.requests)
                    preempt(victim, s)
                    ended = victim == i
                    i -= victim < i
            if not ended:
                run.prefilling |= row.prefilling
                add_entry(slot, new, min(np.int64(row.drafts), max(computed + new - known, 0)), 0, s)
        i += 1


def find_victim(core: Core, requests: Requests) -> Int:
    """Place in the running list of whom to preempt (8): the request admitted last, or the one served last by (priority, arrival),
    of equal ones the first."""
    worst = core.run.running - 1
    if core.run.by_priority:
        for k in range(core.run.running - 2, -1, -1):
            a = index(core.slots[index(core.order[index(k)])].request)
            b = index(core.slots[index(core.order[index(worst)])].request)
            first, second = requests.priority[a], requests.priority[b]
            if first > second or (first == second and requests.arrival_ns[a] >= requests.arrival_ns[b]):
                worst = k
    return worst


def add_entry(slot: Int, new: Int, checked: Int, padded: Int, s: State) -> None:
    """Puts `new` tokens of a request, the last `checked` of them drafts, into the batch with the blocks they need. They count as
    computed (19); with async scheduling the next step builds on their output before anything is known (S16)."""
    core, run, row = s.core, s.core.run, s.core.slots[slot]
    entry = s.flights.batches[index(run.newest), index(run.entries)]
    run.entries += 1
    run.budget -= new + run.drafting
    computed = np.int64(row.computed) + new
    hold = min(computed + run.lookahead, run.max_model_len)
    if hold > row.covered:
        extend(slot, hold, core, s.pool)
    if run.caching:
        publish(slot, min(computed, np.int64(row.known)), core, s.requests, s.pool)
    yields = computed >= row.known + row.pending
    entry.request, entry.slot, entry.order, entry.new, entry.computed = row.request, slot, row.order, new, row.computed
    entry.checked, entry.padded, entry.yields = checked, padded, yields
    row.computed, row.prefilling, row.drafts = computed, not yields, 0
    row.flying += new
    row.previous, row.last = row.last, run.decided
    if yields and run.asynchronous:
        row.pending += 1 + checked
        row.drafts = run.draft_tokens


def preempt(place: Int, s: State) -> None:
    """Preempts the request at this place of the running list. Its tokens in the batch being made return to the budget."""
    core, queue = s.core, s.queue
    run, slot = core.run, index(core.order[index(place)])
    row = core.slots[slot]
    r = index(row.request)
    if row.last == run.decided:
        _withdraw_entry(slot, s)
    if run.swap:
        queue.swapped[r] = row.computed
        run.swapped_blocks += blocks_for(np.int64(row.computed), core.run)
    queue.done[r], queue.due[r] = row.known - row.prompt, row.last
    if run.logging:
        s.log.preempted[index(run.preemptions), 0] = run.steps
        s.log.preempted[index(run.preemptions), 1] = r
    stop(place, s)
    push(np.int64(r), core.run, s.requests, queue)
    s.served.preemptions[r] += 1
    run.preemptions += 1
    run.preempted += 1
    run.idle_preemptions += 1


def _withdraw_entry(slot: Int, s: State) -> None:
    """Takes a victim that has been served out of the batch."""
    run, batch, row = s.core.run, s.flights.batches[index(s.core.run.newest)], s.core.slots[slot]
    k = index(0)
    while batch[k].slot != slot:
        k = index(k + 1)
    run.budget += batch[k].new + run.drafting
    row.computed, row.last = batch[k].computed, row.previous
    run.entries -= 1
    while k < run.entries:
        batch[k] = batch[index(k + 1)]
        k = index(k + 1)


def stop(place: Int, s: State) -> None:
    """Takes the request at this place out of the running list; it gives back what it held."""
    core, run, order = s.core, s.core.run, s.core.order
    slot = index(order[index(place)])
    row = core.slots[slot]
    if run.channels:
        s.flights.channel_tokens[index(row.channel)] -= row.known
    release(slot, core, s.pool)
    row.order = 0
    core.free_slots[index(run.max_num_seqs - run.running)] = slot
    run.running -= 1
    for k in range(index(place), index(run.running)):
        order[k] = order[index(k + 1)]


callable_from_compiled(__name__)
