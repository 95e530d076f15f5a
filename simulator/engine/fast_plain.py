"""The plain compiled engine: O(1) per step whatever the batch.

For vLLM v1's scheduler with FCFS, chunked prefill, no cap on chunks, no prefix caching and preemption by
recomputation; asynchronous or with pipeline stages (`fast_sync` is the synchronous one). Then every decode that is not
in flight is part of every pass (the token budget is at least max_num_seqs), and at most one prompt is partly computed:
that of the last running request.
"""

from __future__ import annotations

import numpy as np
from numba import types

from simulator.engine.fast_arrays import (
    DONE_ALL,
    LIMITS,
    MORE,
    OUTCOME,
    PREFILL_CHUNKS,
    PREFILL_CONTEXT,
    PREFILL_PAIRS,
    PREFILL_TOKENS,
    REQUESTS,
    STUCK,
    USED_BLOCK_NS,
)
from simulator.engine.fast_costs import TABLES, chunk_ns
from simulator.engine.fast_jump import jump
from simulator.engine.fast_plain_state import (
    ALL,
    BLOCKED,
    CHUNKS_NS,
    CLOCK,
    COMPUTED,
    COUNT,
    COUNTING,
    COUNTS,
    CURRENT,
    DELIVERED,
    DONE,
    DUE,
    END_NS,
    FREE,
    FREE_GROUPS,
    GROUP_OF,
    HEAD,
    JOINED,
    KNOWN,
    LAST_END_NS,
    LAST_START_NS,
    LAST_USED,
    LATER,
    LAUNCHED,
    LEAVING,
    LONGEST_CHUNK,
    NEWCOMERS,
    ONES,
    ONES_CONTEXT,
    ONES_LONGEST,
    PARTIAL,
    PASS,
    PASS_OF,
    PHASE,
    PLAIN,
    RUNNING,
    STACK,
    TOTAL,
    WHO,
    blocks_for,
    give_slot,
    leave_span,
    take_slot,
)
from simulator.engine.fast_plain_step import enqueue, first_in, launch, record, waiting_of
from simulator.engine.fast_shortage import serve_short_of_blocks


def _pass_running(requests, limits, plain, tables, outcome):
    """Blocks for the decodes of the current group and for a chunk of the partial prompt. Returns the budget left, and
    -1 where somebody was preempted: then nobody is admitted."""
    state = plain.state
    g = state[CURRENT]
    budget = limits.token_budget - plain.groups[g, COUNT]
    demand = np.int64(plain.residues[g, plain.groups[g, PHASE]])
    chunk = 0
    if state[PARTIAL] >= 0:
        chunk = min(state[KNOWN] - state[COMPUTED], budget)
        demand += blocks_for(state[COMPUTED] + chunk, limits) - blocks_for(state[COMPUTED], limits)
    if demand > state[FREE]:
        serve_short_of_blocks(requests, limits, plain, outcome)
        return -1
    state[FREE] -= demand
    if chunk > 0:
        _add_chunk(state[PARTIAL], chunk, plain, tables, outcome)
    return budget - chunk


def _add_chunk(slot, chunk, plain, tables, outcome):
    """The next `chunk` tokens of a prompt join the batch."""
    state, totals, chunks = plain.state, outcome.totals, plain.chunks
    before = state[COMPUTED]
    state[COMPUTED] = before + chunk
    plain.newcomers[state[NEWCOMERS]] = slot
    state[NEWCOMERS] += 1
    if chunk == 1:  # priced like a decode
        chunks[ONES] += 1
        chunks[ONES_CONTEXT] += before + 1
        chunks[ONES_LONGEST] = max(chunks[ONES_LONGEST], before + 1)
        return
    chunks[CHUNKS_NS] += chunk_ns(tables, chunk, before)
    chunks[LONGEST_CHUNK] = max(chunks[LONGEST_CHUNK], chunk)
    totals[PREFILL_CHUNKS] += 1
    totals[PREFILL_TOKENS] += chunk
    totals[PREFILL_CONTEXT] += before
    totals[PREFILL_PAIRS] += chunk * before + chunk * (chunk + 1) // 2


def _admit(budget, requests, limits, plain, tables, outcome):
    """Rules 10 to 15: requests from the head of the queue while they fit. Returns the budget left."""
    state = plain.state
    place = state[STACK] - 1
    while budget > 0 and state[RUNNING] < limits.max_num_seqs:
        while place >= 0 and plain.stack[place, DUE] > state[DELIVERED]:
            place -= 1
        if place >= 0:
            r, done = plain.stack[place, WHO], plain.stack[place, DONE]
        elif state[HEAD] < state[JOINED]:
            r, done = state[HEAD], 0
        else:
            break
        known = requests.prompt[r] + done
        new = min(known, budget)
        margin = limits.margin_blocks if state[RUNNING] > 0 else 0
        if blocks_for(known if limits.full_sequence_gate else new, limits) + margin > state[FREE]:
            state[BLOCKED] = 1
            break
        if place >= 0:
            _leave_stack(place, plain)
            place -= 1
        else:
            state[HEAD] += 1
        state[FREE] -= blocks_for(new, limits)
        state[KNOWN], state[COMPUTED] = known, 0
        slot = take_slot(plain, r)
        plain.slots[slot, TOTAL] = known  # until it decodes
        _add_chunk(slot, new, plain, tables, outcome)
        budget -= new
    return budget


def _leave_stack(place, plain):
    state, stack = plain.state, plain.stack
    for i in range(place, state[STACK] - 1):
        for column in range(stack.shape[1]):
            stack[i, column] = stack[i + 1, column]
    state[STACK] -= 1


def _deliver(limits, plain):
    """The oldest batch in flight has ended: who has all tokens leaves."""
    state, slots = plain.state, plain.slots
    batch = plain.ring[state[DELIVERED] & (len(plain.ring) - 1)]
    state[CLOCK] = max(state[CLOCK], batch[END_NS])
    state[DELIVERED] += 1
    state[COUNTING] -= batch[COUNTS]
    g, at = batch[GROUP_OF], batch[PASS_OF] & (plain.wheel.shape[1] - 1)
    slot = np.int64(plain.wheel[g, at])
    if slot >= 0:
        state[BLOCKED] = 0
        plain.wheel[g, at] = -1
        while slot >= 0:
            state[FREE] += blocks_for(slots[slot, TOTAL], limits)
            give_slot(plain, slot)
            if g == 0:
                leave_span(plain, batch[PASS_OF])
            slot = slots[slot, LATER]
    if state[LEAVING] > 0:
        _drop_finished(plain)
    if len(plain.groups) > 1:
        if state[CURRENT] >= 0:  # found nothing to do
            plain.free_groups[state[FREE_GROUPS]] = state[CURRENT]
            state[FREE_GROUPS] += 1
        state[CURRENT] = g


def _next_group(state, plain):
    """An empty group for the next pass, if there is one; otherwise the group that comes back first."""
    state[CURRENT] = -1
    if state[FREE_GROUPS] > 0:
        state[FREE_GROUPS] -= 1
        state[CURRENT] = plain.free_groups[state[FREE_GROUPS]]


def _drop_finished(plain):
    """Preempted requests whose last token has just been delivered leave the queue."""
    state, stack = plain.state, plain.stack
    for place in range(state[STACK] - 1, -1, -1):
        if stack[place, DONE] == ALL and stack[place, DUE] <= state[DELIVERED]:
            _leave_stack(place, plain)
            state[LEAVING] -= 1


def _join(requests, state):
    n = len(requests.arrival_ns)
    while state[JOINED] < n and requests.arrival_ns[state[JOINED]] <= state[CLOCK]:
        state[JOINED] += 1


def _may_jump(limits, plain):
    """Whether the next pass can only be one of decodes."""
    state = plain.state
    if state[PARTIAL] >= 0 or plain.groups[0, COUNT] == 0 or len(plain.stage_free_ns) > 1:
        return False
    if waiting_of(state) > 0 and state[BLOCKED] == 0 and state[RUNNING] < limits.max_num_seqs:
        return False
    # a batch in flight must not change anything when it ends
    return (
        state[LAUNCHED] == state[DELIVERED] + 1
        and state[STACK] == 0
        and first_in(0, plain.groups[0, PASS] - 1, plain) < 0
    )


def _decide(requests, limits, plain, tables, outcome):
    """One pass."""
    state = plain.state
    decided = state[CLOCK]
    state[NEWCOMERS] = 0
    for k in range(len(plain.chunks)):
        plain.chunks[k] = 0
    budget = _pass_running(requests, limits, plain, tables, outcome)
    preempted = budget < 0
    tokens = plain.groups[state[CURRENT], COUNT]
    if not preempted:
        if budget > 0 and waiting_of(state) > 0:
            budget = _admit(budget, requests, limits, plain, tables, outcome)
        tokens = limits.token_budget - budget
    if tokens > 0:
        launch(tokens, decided, requests, limits, plain, tables, outcome)
        return
    end = max(decided, plain.stage_free_ns[len(plain.stage_free_ns) - 1])
    if preempted:
        record(decided, end, end, 0, 0, limits, plain, outcome)
    enqueue(end, np.int64(preempted), limits, plain)


def simulate(requests, limits, tables, plain, outcome):
    """Serves the trace, from the state that `plain` holds. Returns whether every request was finished, or MORE when the
    next pass may depend on requests that are still to come."""
    state, n = plain.state, len(requests.arrival_ns)
    stop = np.int64(n if limits.more else -1)
    while True:
        _join(requests, state)
        if state[JOINED] != stop and _may_jump(limits, plain):  # as many steps of mere decoding as can be made at once
            jump(waiting_of(state), requests, limits, plain, tables, outcome)
            _join(requests, state)
        if state[JOINED] == stop:
            return MORE
        if state[RUNNING] + waiting_of(state) > 0:
            _decide(requests, limits, plain, tables, outcome)
            if len(plain.groups) > 1:
                _next_group(state, plain)
            if state[LAUNCHED] - state[DELIVERED] < limits.depth:
                continue
        if state[COUNTING] > 0:
            _deliver(limits, plain)
        elif state[JOINED] < n:
            while state[DELIVERED] < state[LAUNCHED]:
                _deliver(limits, plain)
            state[CLOCK] = requests.arrival_ns[state[JOINED]]
        else:
            break
    outcome.totals[USED_BLOCK_NS] += state[LAST_USED] * (state[LAST_END_NS] - state[LAST_START_NS])
    return DONE_ALL if state[RUNNING] + waiting_of(state) == 0 else STUCK


SIGNATURE = types.int64(REQUESTS, LIMITS, TABLES, PLAIN, OUTCOME)
