"""Too few blocks for a pass of the plain engine: requests are served one by one, in order, and the last preempted."""

from __future__ import annotations

from simulator.engine.fast_arrays import PREEMPTIONS
from simulator.engine.fast_flatten import apart
from simulator.engine.fast_plain_state import (
    ALL,
    BLOCKED,
    CHUNK_BATCH,
    COMPUTED,
    CURRENT,
    DONE,
    DUE,
    FREE,
    GROUP_OF_SLOT,
    KEY,
    KNOWN,
    LAST_BATCH,
    LAST_PASS,
    LAST_TOKEN_NS,
    LEAVING,
    NEXT,
    PARTIAL,
    PASS,
    PHASE,
    PREVIOUS,
    REQUEST,
    STACK,
    TOTAL,
    WHO,
    blocks_for,
    give_slot,
    leave_group,
    unlink,
)


@apart
def serve_short_of_blocks(requests, limits, plain, outcome):
    """Rules 6 to 8: blocks for the decodes of the current group in the order of the running list. The partial prompt,
    if any, is the last of that list and so the first victim."""
    state, slots = plain.state, plain.slots
    g, anchor = state[CURRENT], len(plain.slots) - 1
    slot, served = slots[anchor, NEXT], 0
    while served < plain.residues[g, plain.groups[g, PHASE]]:
        if (
            slots[slot, GROUP_OF_SLOT] == g
            and slots[slot, KEY] == plain.groups[g, PHASE]
            and slots[slot, LAST_PASS] >= plain.groups[g, PASS]
        ):
            while state[FREE] == 0:
                victim = slots[anchor, PREVIOUS]
                preempt(victim, requests, limits, plain, outcome)
                if victim == slot:
                    return
            state[FREE] -= 1
            served += 1
        slot = slots[slot, NEXT]
    if state[PARTIAL] >= 0:  # everybody else was served: it is short itself
        preempt(state[PARTIAL], requests, limits, plain, outcome)


def preempt(slot, requests, limits, plain, outcome):
    """Rule 21: gives up the slot's blocks and puts its request at the head of the queue. What it will get from batches
    in flight counts as delivered, because it cannot be resumed before that."""
    state, slots = plain.state, plain.slots
    r = slots[slot, REQUEST]
    due = 0
    if slot == state[PARTIAL]:
        computed, done = state[COMPUTED], state[KNOWN] - requests.prompt[r]
        due = state[CHUNK_BATCH]
        state[PARTIAL] = -1
    else:
        g = slots[slot, GROUP_OF_SLOT]
        left = slots[slot, LAST_PASS] - plain.groups[g, PASS] + 1
        computed, done = slots[slot, TOTAL] - left, requests.output[r] - left
        due = plain.groups[g, LAST_BATCH]
        if len(outcome.last_token_ns) > 0:
            outcome.last_token_ns[r] = plain.groups[g, LAST_TOKEN_NS]
        unlink(plain, slot)
        if left > 0:
            leave_group(plain, slot, computed)
        else:
            state[LEAVING] += 1
            done = ALL
    state[BLOCKED] = 0
    state[FREE] += blocks_for(computed, limits)
    give_slot(plain, slot)
    top = state[STACK]
    plain.stack[top, WHO], plain.stack[top, DONE], plain.stack[top, DUE] = r, done, due
    state[STACK] = top + 1
    outcome.preemptions[r] += 1
    outcome.totals[PREEMPTIONS] += 1
