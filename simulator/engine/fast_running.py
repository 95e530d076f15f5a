"""The running list of the synchronous engine: slots linked in the order of admission."""

from __future__ import annotations

import numpy as np

from simulator.engine.fast_plain_state import GROUP_OF_SLOT, LATER, NEXT, PREVIOUS, REQUEST


def append(slot, r, plain):
    """Puts a slot at the end of the running list."""
    slots = plain.slots
    anchor = slots[len(slots) - 1]
    tail = anchor[PREVIOUS]
    row = slots[slot]
    row[REQUEST], row[PREVIOUS], row[NEXT], row[GROUP_OF_SLOT] = r, tail, len(slots) - 1, -1
    slots[tail, NEXT] = slot
    anchor[PREVIOUS] = slot


def drop(slot, plain):
    """Takes a slot out of the running list."""
    row = plain.slots[slot]
    before, after = row[PREVIOUS], row[NEXT]
    plain.slots[before, NEXT] = after
    plain.slots[after, PREVIOUS] = before


def in_order(slot, plain):
    """Sorts slots that finish together by admission: the order in which their blocks are released is that in which
    they will be reused. Without preemptions the order of admission is that of the trace."""
    slots, first = plain.slots, np.int64(-1)
    while slot >= 0:
        following = slots[slot, LATER]
        before, after = np.int64(-1), first
        while after >= 0 and slots[after, REQUEST] < slots[slot, REQUEST]:
            before, after = after, slots[after, LATER]
        slots[slot, LATER] = after
        if before < 0:
            first = slot
        else:
            slots[before, LATER] = slot
        slot = following
    return first
