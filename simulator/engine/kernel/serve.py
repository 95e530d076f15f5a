"""Service of the running requests (rules 5-9): all at once where they keep step and blocks suffice, otherwise one by one."""

from __future__ import annotations

import numpy as np

from simulator.engine.kernel.preempt import find_victim, preempt
from simulator.engine.kernel.prefix_cache import publish, recurring, take_blocks
from simulator.engine.kernel.queue import waiting_count
from simulator.engine.kernel.records import (
    LATE,
    PART_BITS,
    PROMPT,
    SLOT_BITS,
    Core,
    Flights,
    Int,
    Pool,
    Record,
    Requests,
    Served,
    State,
)
from simulator.engine.kernel.running import blocks_for, computed_of, full_blocks, leave_group, set_event
from simulator.engine.kernel.windows import drop_in_step, drop_one, drop_passed, leave_step, settled_tokens
from simulator.pricing.compiled import callable_from_compiled, index, once


def longest_chunk(run: Record) -> Int:
    """Most tokens of a request in this pass (5): a lone request is not capped."""
    if run.threshold and run.running + waiting_count(run) > 1:
        return run.threshold
    return np.int64(1 << 40)


def set_next_event(g: Int, slot: Int, computed: Int, core: Core, requests: Requests) -> None:
    """The event of a decode that has `computed` tokens in the group's next pass: its last pass, or with prefix caching the pass
    in which it has filled, and knows, a block that others may hit."""
    run, row = core.run, core.slots[slot]
    at = row.last_pass
    if run.window_kinds:
        at = min(at, core.groups[g].pass_)
    if run.outputs_recur:
        block = np.int64(row.published)
        if block < recurring(index(row.request), core, requests):
            at = min(at, core.groups[g].pass_ + (block + 1) * run.block_size - 1 + run.asynchronous - computed)
    set_event(g, slot, at, core)


def sort_by_admission(slots_found: np.ndarray, count: Int, core: Core) -> None:
    """Sorts the first `count` slots of an array in order of admission (by insertion: they are few)."""
    for k in range(index(1), index(count)):
        slot, j = slots_found[k], np.int64(k)
        while j > 0 and core.slots[index(slots_found[index(j - 1)])].order > core.slots[index(slot)].order:
            slots_found[index(j)] = slots_found[index(j - 1)]
            j -= 1
        slots_found[index(j)] = slot


def publish_decodes(g: Int, core: Core, requests: Requests, pool: Pool) -> None:
    """Publishes the blocks that decodes in step have filled and know in this pass, in order of admission."""
    run, now, found = core.run, core.groups[g].pass_, np.int64(0)
    for part in range(index(core.least.shape[1])):
        if core.least[g, part] >> SLOT_BITS == now:
            for k in range(index(1 << PART_BITS)):
                slot = index((part << PART_BITS) + k)
                if core.events[g, slot] >> SLOT_BITS == now:
                    core.entries[index(found)] = slot
                    found += 1
    sort_by_admission(core.entries, found, core)
    for k in range(index(found)):
        slot = index(core.entries[k])
        publish(slot, full_blocks(computed_of(slot, core) + 1 - run.asynchronous, core.run), core, requests, pool)


@once
def serve_running(g: Int, s: State) -> None:
    """Gives every running request its tokens, preempting where blocks are short."""
    core, run, slots, group = s.core, s.core.run, s.core.slots, s.core.groups[g]
    run.entries = run.preempted = 0
    tail = index(slots[index(run.max_num_seqs)].before)
    in_step = run.lates == 0 and (run.prompts == 0 or (run.prompts == 1 and slots[tail].kind == PROMPT))
    demand, chunk = core.residues[g, index(group.phase)] * run.growing, np.int64(0)
    if in_step and run.prompts > 0:
        row = slots[tail]
        chunk = min(np.int64(row.known - row.computed), longest_chunk(core.run), run.token_budget - group.count)
        demand += run.growing * (blocks_for(row.computed + chunk, core.run) - blocks_for(np.int64(row.computed), core.run))
    if not in_step or (demand > run.free and (run.by_priority or run.growing > 1 or run.window_kinds)):
        serve_one_by_one(g, s)
        return
    if run.window_kinds:
        drop_in_step(g, core)
        if chunk > 0:
            drop_passed(tail, settled_tokens(tail, np.int64(slots[tail].computed), core), core)
    if demand > run.free:
        demand, chunk = _preempt_from_tail(g, demand, chunk, s), np.int64(0)
    run.free -= demand
    run.budget = run.token_budget - group.count - chunk
    if run.caching:
        take_blocks(demand, core, s.pool)
        if run.outputs_recur and group.next >> SLOT_BITS == group.pass_:
            publish_decodes(g, core, s.requests, s.pool)
    if chunk > 0:
        slots[tail].chunk = chunk
        core.entries[index(0)] = tail
        run.entries = 1
        if run.caching:
            publish(tail, full_blocks(slots[tail].computed + chunk, core.run), core, s.requests, s.pool)
            run.blocked = 0  # the head of the queue may hit it


def _preempt_from_tail(
    g: Int, demand: Int, chunk: Int, s: State
) -> Int:
    """Preempts the request admitted last until the `demand` for blocks of the others is met: as one by one, since a prompt under
    way comes last and a decode needs one block at most. Returns the demand that is left to take."""
    core, run, slots = s.core, s.core.run, s.core.slots
    while demand > run.free:
        slot = index(slots[index(run.max_num_seqs)].before)
        row, own = slots[slot], np.int64(0)
        if row.kind == PROMPT:
            own = blocks_for(row.computed + chunk, core.run) - blocks_for(np.int64(row.computed), core.run)
        elif row.kind == g and row.key == core.groups[g].phase:
            own = np.int64(1)
        taken = min(demand - own, run.free)  # by those before it: what it gives back is idle longest
        run.free -= taken
        if run.caching:
            take_blocks(taken, core, s.pool)
        demand -= taken + own
        preempt(slot, s)
    return demand


def serve_one_by_one(g: Int, s: State) -> None:
    """The running requests in order of admission, each with a budget and blocks of what those before it left (6-8)."""
    core, run, slots, anchor = s.core, s.core.run, s.core.slots, index(s.core.run.max_num_seqs)
    cap, slot, ended = longest_chunk(core.run), index(slots[anchor].after), False
    run.budget = run.token_budget
    while slot != anchor and run.budget > 0 and not ended:
        row = slots[slot]
        kind, computed, new = np.int64(row.kind), np.int64(row.computed), np.int64(1)
        if kind == PROMPT:
            new = min(row.known - computed, cap, run.budget)
        elif kind == g:
            computed = computed_of(slot, core)
        if kind in (PROMPT, LATE) or kind == g:
            if run.window_kinds:
                drop_one(g, slot, computed, core)
            needed = run.growing * (blocks_for(computed + new, core.run) - blocks_for(computed, core.run))
            while needed > run.free and not ended:
                victim = find_victim(core, s.requests)
                preempt(victim, s)
                if slots[victim].stamp == run.decided:
                    _withdraw_entry(victim, core)
                ended = victim == slot
            if not ended:
                _serve(slot, computed, new, needed, core, s.requests, s.pool)
        slot = index(slots[slot].after)
    slot = index(slots[anchor].after)
    while slot != anchor:
        if slots[slot].kind == g and slots[slot].stamp != run.decided:
            _fall_behind(g, slot, core, s.flights, s.served)
        slot = index(slots[slot].after)


def _serve(slot: Int, computed: Int, new: Int, needed: Int, core: Core, requests: Requests, pool: Pool) -> None:
    """Puts `new` tokens of a running request into the batch."""
    run, row = core.run, core.slots[slot]
    run.free -= needed
    run.budget -= new
    row.stamp, row.chunk = run.decided, new
    if row.kind < 0:
        core.entries[index(run.entries)] = slot
        run.entries += 1
    if run.caching:
        take_blocks(needed, core, pool)
        known = computed + new
        if row.kind >= 0:
            known -= run.asynchronous
        publish(slot, full_blocks(known, core.run), core, requests, pool)
        run.blocked = 0


def _withdraw_entry(slot: Int, core: Core) -> None:
    """Takes a victim that has been served out of the batch."""
    run, entries, kept = core.run, core.entries, np.int64(0)
    for k in range(index(run.entries)):
        if entries[k] != slot:
            entries[index(kept)] = entries[k]
            kept += 1
    run.entries = kept


def _fall_behind(g: Int, slot: Int, core: Core, flights: Flights, served: Served) -> None:
    """A decode that the batch has no room for leaves its group."""
    run, row, group = core.run, core.slots[slot], core.groups[g]
    computed = computed_of(slot, core)
    if run.window_kinds:
        leave_step(g, slot, computed, core)
    leave_group(g, slot, computed, core)
    row.kind, row.computed, row.last, row.chunk = LATE, computed, group.last_decision, 1
    run.lates += 1
    if run.gaps:
        served.last_token_ns[index(row.request)] = group.last_token_ns
    if run.channels:
        flights.on_channels[g, 0, index(row.channel)] -= 1
        flights.on_channels[g, 1, index(row.channel)] -= computed


callable_from_compiled(__name__)
