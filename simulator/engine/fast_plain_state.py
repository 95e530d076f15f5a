"""State of the plain compiled engine: running requests in slots, decodes in groups, finishes on a wheel.

A decode advances by one token in every pass of its group, so it need not be touched: its computed tokens, its block
demand and its last pass follow from counters. With one batch in flight, or with asynchronous scheduling, all decodes
are one group; with p pipeline stages those whose batch comes back together are a group (p of them at most).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from simulator.engine.fast_arrays import Array, write


class Plain(NamedTuple):
    """Mutable state; `groups` is 1 or, with pipeline stages, their number."""

    state: Array  # int64 [STATE]
    # int64 [max_num_seqs + 1, SLOT]; the last row is the anchor of the running list. TOTAL: tokens when it finishes,
    # before it decodes those to compute
    slots: Array
    free_slots: Array  # int32 [max_num_seqs], a stack
    newcomers: Array  # int32 [max_num_seqs]: slots whose prompt had a chunk in the pass, only the last one unfinished
    groups: Array  # int64 [groups, GROUP]
    residues: Array  # int32 [groups, block_size]: decodes that need a block when the group's phase is this
    wheel: Array  # int32 [groups, power of two above the longest output]: first slot that finishes in this pass
    busy: Array  # int32 [wheel / 16]: slots in every 16 places of the first group's wheel
    free_groups: Array  # int64 [groups], a stack
    ring: Array  # int64 [power of two, 4]: batches in flight, columns END_NS to COUNTS
    stack: Array  # int64 [(depth + 1) * max_num_seqs + 1, 3]: preempted requests, columns WHO, DONE, DUE; head last
    stage_free_ns: Array  # int64 [stages]
    scratch: Array  # int64 [3, MOST_STEPS]: times and blocks of the steps of a jump
    ahead: Array  # int64 [16]: blocks of the next steps, priced together; a length that the compiler does not know
    channels: Array  # int64 [7, PIM channels], rows DECODES to STEP_CONTEXTS; no columns where requests do not lie on channels
    channel_of: Array  # int64 [max_num_seqs], of a slot; empty likewise
    chunks: Array  # int64 [5] of the pass: one-token chunks, their context, the longest; time and longest of the others


(
    CLOCK,
    FREE,  # blocks
    RUNNING,
    FREE_SLOTS,
    HEAD,  # first request of the trace that was never admitted
    JOINED,  # first that has not arrived
    STACK,  # preempted requests that wait
    PARTIAL,  # slot whose prompt is partly computed, or -1: always the last of the running list
    KNOWN,  # of the partial one: tokens to compute in all
    COMPUTED,  # and so far
    CHUNK_BATCH,  # number of the batch with its last chunk
    NEWCOMERS,
    CURRENT,  # group of the next batch
    FREE_GROUPS,
    LAUNCHED,  # batches, empty ones included
    DELIVERED,
    COUNTING,  # batches in flight that scheduled a token or preempted somebody
    CLEAR,  # group 0: no finish in passes before this one
    LEAVING,  # preempted requests whose last token is in flight
    BLOCKED,  # 1: the head of the queue did not fit, and no block was freed since
    LAST_DECISION_NS,  # of the last step
    LAST_WAITING,
    LAST_START_NS,  # of the last batch that was not empty
    LAST_END_NS,
    LAST_USED,
    STATE,
) = range(26)

REQUEST, TOTAL, KEY, LAST_PASS, GROUP_OF_SLOT, PREVIOUS, NEXT, EARLIER, LATER, SLOT = range(10)
COUNT, CONTEXT, PASS, PHASE, LAST_BATCH, LONGEST, LAST_TOKEN_NS, GROUP = range(8)  # LAST_TOKEN_NS: of its decodes
# by channel: decodes and their computed tokens, known tokens of requests in prefill, those of the pass that have one token
DECODES, CONTEXTS, PROMPTS, SINGLES, SINGLE_CONTEXTS, STEP_DECODES, STEP_CONTEXTS = range(7)
END_NS, GROUP_OF, PASS_OF, COUNTS = range(4)  # COUNTS: 1: scheduled a token or preempted somebody
WHO, DONE, DUE = range(3)
ALL = -1  # as DONE: the last token is in flight
SPAN_SHIFT = 4  # `busy` counts 16 places together
MOST_STEPS = 64  # of a jump, priced together
UNKNOWN = -(1 << 60)  # as LONGEST
ONES, ONES_CONTEXT, ONES_LONGEST, CHUNKS_NS, LONGEST_CHUNK = range(5)

_I32, _I64 = types.int32, types.int64
PLAIN = types.NamedTuple(
    [
        *(write(_I64), write(_I64, 2), write(_I32), write(_I32), write(_I64, 2), write(_I32, 2), write(_I32, 2)),
        *(write(_I32), write(_I64), write(_I64, 2), write(_I64, 2), write(_I64), write(_I64, 2), write(_I64), write(_I64, 2)),
        *(write(_I64), write(_I64)),
    ],
    Plain,
)


def new_plain(
    max_num_seqs: int, block_size: int, usable_blocks: int, longest_output: int, depth: int, groups: int, stages: int,
    channels: int
) -> Plain:
    """State before the first arrival."""
    state = np.zeros(STATE, np.int64)
    places = max(1 << longest_output.bit_length(), 1 << SPAN_SHIFT)
    state[FREE], state[FREE_SLOTS], state[PARTIAL], state[FREE_GROUPS] = usable_blocks, max_num_seqs, -1, groups - 1
    slots = np.zeros((max_num_seqs + 1, SLOT), np.int64)
    group = np.zeros((groups, GROUP), np.int64)
    group[:, LONGEST] = UNKNOWN
    slots[max_num_seqs, PREVIOUS] = slots[max_num_seqs, NEXT] = max_num_seqs
    return Plain(
        state,
        slots,
        np.arange(max_num_seqs, dtype=np.int32)[::-1].copy(),
        np.zeros(max_num_seqs, np.int32),
        group,
        np.zeros((groups, block_size), np.int32),
        np.full((groups, places), -1, np.int32),
        np.zeros(places >> SPAN_SHIFT, np.int32),
        np.arange(1, groups + 1, dtype=np.int64),
        np.zeros((1 << (depth - 1).bit_length(), 4), np.int64),
        np.zeros(((depth + 1) * max_num_seqs + 1, 3), np.int64),
        np.zeros(stages, np.int64),
        np.zeros((3, MOST_STEPS), np.int64),
        np.zeros(16, np.int64),
        np.zeros((7, channels), np.int64),
        np.zeros(max_num_seqs if channels else 0, np.int64),
        np.zeros(5, np.int64),
    )


def blocks_for(tokens, limits):
    """KV blocks that hold so many tokens."""
    return (tokens + limits.block_size - 1) >> limits.block_shift


def link(plain, slot, group, last):
    """The slot will finish in pass `last` of its group."""
    at = last & (plain.wheel.shape[1] - 1)
    first = plain.wheel[group, at]
    plain.slots[slot, EARLIER], plain.slots[slot, LATER] = -1, first
    if first >= 0:
        plain.slots[first, EARLIER] = slot
    plain.wheel[group, at] = slot
    plain.slots[slot, LAST_PASS] = last
    plain.slots[slot, GROUP_OF_SLOT] = group
    if group == 0:
        plain.busy[at >> SPAN_SHIFT] += 1
        plain.state[CLEAR] = min(plain.state[CLEAR], last)


def unlink(plain, slot):
    """The slot is off the wheel."""
    slots = plain.slots
    earlier, later = slots[slot, EARLIER], slots[slot, LATER]
    if earlier >= 0:
        slots[earlier, LATER] = later
    else:
        plain.wheel[slots[slot, GROUP_OF_SLOT], slots[slot, LAST_PASS] & (plain.wheel.shape[1] - 1)] = later
    if later >= 0:
        slots[later, EARLIER] = earlier
    if slots[slot, GROUP_OF_SLOT] == 0:
        leave_span(plain, slots[slot, LAST_PASS])


def leave_span(plain, last):
    """A slot that finishes in pass `last` of group 0 is off the wheel."""
    plain.busy[(last & (plain.wheel.shape[1] - 1)) >> SPAN_SHIFT] -= 1


def take_slot(plain, r):
    """A slot at the end of the running list for request r."""
    state, slots = plain.state, plain.slots
    state[FREE_SLOTS] -= 1
    state[RUNNING] += 1
    slot = plain.free_slots[state[FREE_SLOTS]]
    anchor = len(slots) - 1
    tail = slots[anchor, PREVIOUS]
    slots[slot, REQUEST], slots[slot, GROUP_OF_SLOT] = r, -1
    slots[slot, PREVIOUS], slots[slot, NEXT] = tail, anchor
    slots[tail, NEXT] = slot
    slots[anchor, PREVIOUS] = slot
    return slot


def give_slot(plain, slot):
    """The request has left the running list."""
    state, slots = plain.state, plain.slots
    before, after = slots[slot, PREVIOUS], slots[slot, NEXT]
    slots[before, NEXT] = after
    slots[after, PREVIOUS] = before
    plain.free_slots[state[FREE_SLOTS]] = slot
    state[FREE_SLOTS] += 1
    state[RUNNING] -= 1


def add_residue(plain, group, key, count):
    """`count` more decodes need a block in phase `key`."""
    plain.residues[group, key] += count


def join_group(plain, slot, g, computed):
    """The request decodes from the group's next pass on; LAST_PASS and TOTAL are set."""
    group = plain.groups[g]
    key = (group[PHASE] - computed) & (plain.residues.shape[1] - 1)
    plain.slots[slot, KEY] = key
    add_residue(plain, g, key, 1)
    ahead = computed - group[PASS]
    if group[COUNT] == 0:
        group[LONGEST] = ahead
    elif group[LONGEST] != UNKNOWN:
        group[LONGEST] = max(group[LONGEST], ahead)
    group[COUNT] += 1
    group[CONTEXT] += computed


def leave_group(plain, slot, computed):
    """The request decodes no more."""
    g = plain.slots[slot, GROUP_OF_SLOT]
    group = plain.groups[g]
    add_residue(plain, g, plain.slots[slot, KEY], -1)
    if computed - group[PASS] == group[LONGEST]:
        group[LONGEST] = UNKNOWN
    group[COUNT] -= 1
    group[CONTEXT] -= computed


def longest_context(plain, g):
    """Computed tokens of the group's longest decode."""
    slots, group = plain.slots, plain.groups[g]
    if group[LONGEST] == UNKNOWN:
        slot = slots[len(slots) - 1, NEXT]
        while slot != len(slots) - 1:
            if slots[slot, GROUP_OF_SLOT] == g and slots[slot, LAST_PASS] >= group[PASS]:
                group[LONGEST] = max(group[LONGEST], slots[slot, TOTAL] - slots[slot, LAST_PASS] - 1)
            slot = slots[slot, NEXT]
    return group[LONGEST] + group[PASS]
