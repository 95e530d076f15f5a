"""The running requests: slots in order of admission, decodes in groups that advance in step, events of a group.

A decode advances by one token in every pass of its group, so nobody visits it: its computed tokens, the pass in which it needs
a block and its last pass follow from the group's counters. What cannot keep step leaves the group and joins it again later.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.kernel.records import EMPTY, NEVER, PART_BITS, SLOT_BITS, UNKNOWN, Core, Int, Record
from simulator.pricing.compiled import callable_from_compiled, index


def blocks_for(tokens: Int, run: Record) -> Int:
    """KV blocks that hold `tokens` tokens."""
    if run.block_shift >= 0:
        return (tokens + run.block_size - 1) >> run.block_shift
    return np.int64(index(tokens + run.block_size - 1) // index(run.block_size))


def full_blocks(tokens: Int, run: Record) -> Int:
    """KV blocks that `tokens` tokens fill."""
    if run.block_shift >= 0:
        return tokens >> run.block_shift
    return np.int64(index(tokens) // index(run.block_size))


def append_slot(r: Int, core: Core) -> Int:
    """A slot for request r at the end of the running list."""
    run, slots = core.run, core.slots
    run.running += 1
    run.order += 1
    slot, anchor = index(core.free_slots[index(run.max_num_seqs - run.running)]), index(run.max_num_seqs)
    row, end = slots[slot], slots[anchor]
    tail = index(end.before)
    row.request, row.before, row.after, row.order, row.last, row.published = r, tail, anchor, run.order, 0, 0
    slots[tail].after = slot
    end.before = slot
    return slot


def drop_slot(slot: Int, core: Core) -> None:
    """Takes a slot out of the running list."""
    run, slots = core.run, core.slots
    row = slots[slot]
    row.kind = EMPTY
    slots[index(row.before)].after = row.after
    slots[index(row.after)].before = row.before
    core.free_slots[index(run.max_num_seqs - run.running)] = slot
    run.running -= 1


def set_event(g: Int, slot: Int, at: Int, core: Core) -> None:
    """The slot, a decode of group g without an event, wants attention in pass `at`."""
    event, part = (np.int64(at) << SLOT_BITS) | np.int64(slot), index(slot >> PART_BITS)
    core.events[g, slot] = event
    core.least[g, part] = min(core.least[g, part], event)
    core.groups[g].next = min(core.groups[g].next, event)


def clear_event(g: Int, slot: Int, core: Core) -> None:
    """The slot has no event in group g any more."""
    part = index(slot >> PART_BITS)
    in_part = _least_but(core.events[g], index(part << PART_BITS), 1 << PART_BITS, slot, np.int64(NEVER))
    core.groups[g].next = _least_but(core.least[g], index(0), core.run.parts, part, in_part)
    core.events[g, slot] = NEVER
    core.least[g, part] = in_part


def _least_but(events: np.ndarray, first: Int, count: Int, place: Int, instead: Int) -> Int:
    """The least of `count` events from `first` on, with another one at `place`. The caller writes that one afterwards: to read in
    vectors what was written a moment ago makes the processor wait."""
    least = np.int64(NEVER)
    for k in range(first, index(first + count)):
        least = min(least, instead if k == place else events[k])
    return least


def computed_of(slot: Int, core: Core) -> Int:
    """Computed tokens of a decode in a group."""
    row = core.slots[slot]
    return np.int64(row.total) - (row.last_pass - core.groups[index(row.kind)].pass_ + 1)


def join_group(g: Int, slot: Int, computed: Int, left: Int, core: Core) -> None:
    """The request decodes from the group's next pass on; `left` tokens are to come. Its event is the caller's."""
    run, group, row = core.run, core.groups[g], core.slots[slot]
    row.kind, row.joined, row.last_pass = g, group.pass_, group.pass_ + left - 1
    key = group.phase - (computed - full_blocks(computed, core.run) * run.block_size)
    if key < 0:
        key += run.block_size
    row.key = key
    core.residues[g, index(key)] += 1
    if run.spread:
        ahead = computed - group.pass_
        if group.count == 0:
            group.longest = ahead
        elif group.longest != UNKNOWN:
            group.longest = max(group.longest, ahead)
    group.count += 1
    group.context += computed


def leave_group(g: Int, slot: Int, computed: Int, core: Core) -> None:
    """The request, with `computed` tokens at the group's next pass, is no decode of the group any more."""
    group = core.groups[g]
    core.residues[g, index(core.slots[slot].key)] -= 1
    if computed - group.pass_ == group.longest:
        group.longest = UNKNOWN
    group.count -= 1
    group.context -= computed
    clear_event(g, slot, core)


def longest_context(g: Int, core: Core) -> Int:
    """Computed tokens of the group's longest decode."""
    group = core.groups[g]
    if group.longest == UNKNOWN:
        for slot in range(index(core.run.max_num_seqs)):
            if core.events[g, slot] != NEVER:
                row = core.slots[slot]
                group.longest = max(group.longest, np.int64(row.total) - row.last_pass - 1)
    return group.longest + group.pass_


callable_from_compiled(__name__)
