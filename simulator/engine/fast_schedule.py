"""One pass of the general compiled engine: the running requests, then admissions.

The functions mirror those of `scheduler.Scheduler`, which explain them; the rule numbers are the same.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.fast_arrays import ADMISSIONS, PREEMPTIONS, STEPS
from simulator.engine.fast_pool import grow, hits, publish, release, take_hits, take_slot
from simulator.engine.fast_queues import (
    FREE,
    HEAD,
    IDLE_PREEMPTIONS,
    JOINED,
    RUNNING,
    SWAPPED_BLOCKS,
    WAITING,
    leave_stack,
    pop,
    push,
    waiting_count,
)


def blocks_for(tokens, limits):
    return -(-tokens // limits.block_size)


def _wanted(r, requests, queues, limits):
    """Tokens that running request r wants in this pass (rule 6), before cap and budget."""
    pending, computed = queues.pending[r], queues.computed[r]
    if pending > 0 and computed + 2 - pending >= requests.prompt[r] + requests.output[r]:
        return 0
    known = requests.prompt[r] + queues.delivered[r]
    return min(known + pending - computed, limits.max_model_len - 1 - computed)


def _victim(requests, queues, limits):
    """Position in the running list of the request to preempt (rule 8)."""
    last = queues.state[RUNNING] - 1
    if not limits.by_priority:
        return last
    worst = 0
    for i in range(1, last + 1):
        r, w = queues.running[i], queues.running[worst]
        if requests.priority[r] > requests.priority[w] or (
            requests.priority[r] == requests.priority[w] and requests.arrival_ns[r] > requests.arrival_ns[w]
        ):
            worst = i
    return worst


def _drop_from_batch(r, b, queues):
    """Takes a victim's entry out of the batch being made. Returns its tokens."""
    size, tokens = queues.batch_size[b], 0
    for k in range(size):
        if queues.batch_request[b, k] == r:
            tokens = queues.batch_new[b, k]
            for j in range(k, size - 1):
                queues.batch_request[b, j] = queues.batch_request[b, j + 1]
                queues.batch_new[b, j] = queues.batch_new[b, j + 1]
            queues.batch_size[b] -= 1
            break
    return tokens


def _preempt(position, b, requests, queues, limits, pool):
    """Rule 21: the blocks are given up, the request waits again, before all others or by its rank. A victim that is
    part of the batch being made leaves it. Returns the victim and those of its tokens that return to the budget."""
    state = queues.state
    r = queues.running[position]
    for i in range(position, state[RUNNING] - 1):
        queues.running[i] = queues.running[i + 1]
    state[RUNNING] -= 1
    if limits.caching:
        state[FREE] += release(pool, queues.slot[r])
    else:
        state[FREE] += blocks_for(queues.computed[r], limits)
    tokens = _drop_from_batch(r, b, queues)
    state[IDLE_PREEMPTIONS] += 1
    if limits.swap:
        queues.swapped[r] = queues.computed[r] - tokens
        state[SWAPPED_BLOCKS] += blocks_for(queues.swapped[r], limits)
    if limits.channels > 0:
        queues.channel_tokens[queues.channel[r]] -= requests.prompt[r] + queues.delivered[r]
    queues.slot[r] = -1
    queues.computed[r] = 0
    queues.pending[r] = 0
    if limits.by_priority:
        push(r, requests, queues)
    else:
        queues.waiting[state[WAITING]] = r
        state[WAITING] += 1
    return r, tokens


def _append_to_batch(r, new, b, queues):
    k = queues.batch_size[b]
    queues.batch_request[b, k] = r
    queues.batch_new[b, k] = new
    queues.batch_size[b] = k + 1
    queues.computed[r] += new


def publish_known(r, requests, queues, limits, pool):
    """Rule 17: full blocks are published when they are scheduled, as far as their tokens are known."""
    known = requests.prompt[r] + queues.delivered[r]
    full = min(queues.computed[r], known) // limits.block_size
    publish(pool, queues.slot[r], requests, r, full)


def _schedule_running(b, requests, queues, limits, pool, outcome, log):
    """Rules 5 to 9. Returns the budget left, and -1 where somebody was preempted: then nobody is admitted."""
    state = queues.state
    budget, preempted = limits.token_budget, False
    cap = limits.long_prefill_threshold
    if cap <= 0 or state[RUNNING] + waiting_count(queues) <= 1:
        cap = budget
    i = 0
    while i < state[RUNNING] and budget > 0:
        r = queues.running[i]
        new = min(_wanted(r, requests, queues, limits), cap, budget)
        if new <= 0:
            i += 1
            continue
        more = blocks_for(queues.computed[r] + new, limits) - blocks_for(queues.computed[r], limits)
        while more > state[FREE]:
            position = _victim(requests, queues, limits)
            victim, tokens = _preempt(position, b, requests, queues, limits, pool)
            preempted = True
            _note_preemption(victim, outcome, log)
            if victim == r:
                return -1
            budget += tokens
            if position < i:
                i -= 1
        state[FREE] -= more
        _append_to_batch(r, new, b, queues)
        if limits.caching:
            grow(pool, queues.slot[r], blocks_for(queues.computed[r], limits))
            publish_known(r, requests, queues, limits, pool)
        budget -= new
        i += 1
    return -1 if preempted else budget


def _note_preemption(r, outcome, log):
    outcome.preemptions[r] += 1
    k = outcome.totals[PREEMPTIONS]
    if len(log.preempted) > 0:
        log.preempted[k, 0] = outcome.totals[STEPS]
        log.preempted[k, 1] = r
    outcome.totals[PREEMPTIONS] = k + 1


def _note_admission(r, outcome, log, computed):
    if outcome.first_scheduled_ns[r] < 0:
        outcome.cached_tokens[r] = computed
    k = outcome.totals[ADMISSIONS]
    if len(log.admissions) > 0:
        log.admissions[k, 0] = outcome.totals[STEPS]
        log.admissions[k, 1] = r
        log.admissions[k, 2] = computed
    outcome.totals[ADMISSIONS] = k + 1


def _admissible(r, budget, cap, requests, queues, limits, pool):
    """Rules 11 to 14: whether waiting request r can be admitted now, its hit blocks, idle ones of them, tokens
    computed already, and new tokens."""
    known = requests.prompt[r] + queues.delivered[r]
    found = idle = 0
    if limits.caching:
        most = (known - 1) // limits.block_size
        found, idle = hits(pool, requests, r, most)
    computed = found * limits.block_size
    if limits.swap:
        computed = max(computed, queues.swapped[r])
    new = min(known - computed, cap)
    if not limits.chunked and new > budget:
        return False, 0, 0, 0, 0
    new = min(new, budget)
    margin = limits.margin_blocks if queues.state[RUNNING] > 0 else 0
    free = queues.state[FREE] - margin - idle + found
    if limits.full_sequence_gate and blocks_for(known, limits) > free:
        return False, 0, 0, 0, 0
    return blocks_for(computed + new, limits) <= free, found, idle, computed, new


def _admit(r, found, idle, computed, new, b, requests, queues, limits, pool):
    """Rule 15."""
    state = queues.state
    queues.computed[r] = computed
    queues.slot[r] = 0
    state[FREE] -= idle + blocks_for(computed + new, limits) - found
    if limits.swap:
        if queues.swapped[r] > found * limits.block_size:
            state[SWAPPED_BLOCKS] += blocks_for(queues.swapped[r], limits) - found
        queues.swapped[r] = 0
    if limits.channels > 0:
        c = np.argmin(queues.channel_tokens)
        queues.channel[r] = c
        queues.channel_tokens[c] += requests.prompt[r] + queues.delivered[r]
    queues.running[state[RUNNING]] = r
    state[RUNNING] += 1
    _append_to_batch(r, new, b, queues)
    if limits.caching:
        slot = take_slot(pool)
        queues.slot[r] = slot
        take_hits(pool, slot, requests, r, found)
        grow(pool, slot, blocks_for(queues.computed[r], limits))
        publish_known(r, requests, queues, limits, pool)


def _schedule_waiting(b, budget, requests, queues, limits, pool, outcome, log):
    """Rules 10 to 15, in the order of the queue; requests that are part of a batch in flight are stepped over."""
    state = queues.state
    cap = limits.long_prefill_threshold
    if cap <= 0 or state[RUNNING] + waiting_count(queues) <= 1:
        cap = limits.max_model_len
    place = state[WAITING] - 1  # FCFS: position in the stack of preempted requests
    aside = 0  # priority: requests stepped over
    while budget > 0 and state[RUNNING] < limits.max_num_seqs:
        if limits.by_priority:
            if state[WAITING] == 0:
                break
            r = pop(requests, queues)
            if queues.in_flight[r] > 0:
                aside += 1
                queues.waiting[len(queues.waiting) - aside] = r
                continue
        else:
            while place >= 0 and queues.in_flight[queues.waiting[place]] > 0:
                place -= 1
            if place < 0 and state[HEAD] >= state[JOINED]:
                break
            r = queues.waiting[place] if place >= 0 else np.int32(state[HEAD])
        fits, found, idle, computed, new = _admissible(r, budget, cap, requests, queues, limits, pool)
        if not fits:
            if limits.by_priority:
                push(r, requests, queues)
            break
        if not limits.by_priority:
            if place >= 0:
                leave_stack(place, queues)
                place -= 1
            else:
                state[HEAD] += 1
        _note_admission(r, outcome, log, computed)
        _admit(r, found, idle, computed, new, b, requests, queues, limits, pool)
        budget -= new
    for k in range(aside):
        push(queues.waiting[len(queues.waiting) - 1 - k], requests, queues)


def schedule(b, requests, queues, limits, pool, outcome, log):
    """One pass; the batch is left in ring place b."""
    queues.batch_size[b] = 0
    budget = _schedule_running(b, requests, queues, limits, pool, outcome, log)
    if budget > 0:
        _schedule_waiting(b, budget, requests, queues, limits, pool, outcome, log)
