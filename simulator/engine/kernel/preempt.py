"""Preemption (rules 8 and 21): a running request gives up its blocks and goes back to the head of the queue."""

from __future__ import annotations

import numpy as np

from simulator.engine.kernel.prefix_cache import release
from simulator.engine.kernel.queue import push
from simulator.engine.kernel.records import ALL, LATE, LEAVING, PROMPT, Core, Int, Requests, State
from simulator.engine.kernel.running import blocks_for, computed_of, drop_slot, full_blocks, leave_group
from simulator.engine.kernel.windows import held_blocks, leave_step
from simulator.pricing.compiled import callable_from_compiled, index


def find_victim(core: Core, requests: Requests) -> Int:
    """Whom to preempt (8): the request admitted last, or the one served last by (priority, arrival), of equal ones the first."""
    slots, anchor = core.slots, index(core.run.max_num_seqs)
    worst = index(slots[anchor].before)
    if core.run.by_priority:
        slot = worst
        while slot != anchor:
            a, b = index(slots[slot].request), index(slots[worst].request)
            first, second = requests.priority[a], requests.priority[b]
            if first > second or (first == second and requests.arrival_ns[a] >= requests.arrival_ns[b]):
                worst = slot
            slot = index(slots[slot].before)
    return worst


def preempt(slot: Int, s: State) -> None:
    """Preempts the request in a slot. What it will get from batches in flight counts as done, because it cannot be resumed before
    that. Its tokens in the batch being made return to the budget."""
    core, requests, served, flights = s.core, s.requests, s.served, s.flights
    run, row = core.run, core.slots[slot]
    r, kind = index(row.request), np.int64(row.kind)
    new = np.int64(row.chunk) if row.stamp == run.decided else np.int64(0)
    last, prompt = row.last, np.int64(requests.prompt[r])
    if kind >= 0:
        group = core.groups[index(kind)]
        computed, last = computed_of(slot, core), group.last_decision
        done = requests.output[r] - (row.last_pass - group.pass_ + 1)
        if run.gaps:
            served.last_token_ns[r] = group.last_token_ns
    elif kind == LEAVING:
        computed, done = np.int64(row.total), np.int64(requests.output[r])
    elif kind == LATE:
        computed = np.int64(row.computed)
        done = computed + 1 - prompt
    else:
        computed = np.int64(row.computed)
        done = row.known - prompt
    if run.channels:
        c, known = index(row.channel), prompt + done
        if kind != PROMPT and last > run.delivered:
            known -= 1
            flights.yields_on[index(last % run.depth), c] -= 1
        flights.channel_tokens[c] -= known
        if kind >= 0:
            flights.on_channels[index(kind), 0, c] -= 1
            flights.on_channels[index(kind), 1, c] -= computed
    if run.window_kinds and kind >= 0:
        leave_step(index(kind), slot, computed, core)
    held = held_blocks(slot, computed + new, core)
    if run.caching:
        full = np.int64(row.published)
        if kind == LEAVING and not run.by_priority:
            full = full_blocks(np.int64(row.computed), core.run)
        elif not run.by_priority:  # with asynchronous scheduling the newest token was not known when it was scheduled
            behind = run.asynchronous and kind >= 0 and row.joined != core.groups[index(kind)].pass_
            full = full_blocks(computed - 1 if behind else computed, core.run)
        run.free += release(slot, held, full, np.int64(r) + 1, core, s.pool)
    else:
        run.free += held
    if run.swap:
        s.queue.swapped[r] = computed
        run.swapped_blocks += blocks_for(computed, core.run)
    if kind >= 0:
        leave_group(index(kind), slot, computed, core)
    elif kind == LATE:
        run.lates -= 1
    elif kind == PROMPT:
        run.prompts -= 1
    s.queue.done[r], s.queue.due[r] = done, last
    if kind == LEAVING:
        s.queue.done[r] = ALL
        run.leaving_queue += 1
    drop_slot(slot, core)
    push(np.int64(r), core.run, requests, s.queue)
    served.preemptions[r] += 1
    if run.logging:
        s.log.preempted[index(run.preemptions), 0] = run.steps
        s.log.preempted[index(run.preemptions), 1] = r
    run.preemptions += 1
    run.preempted += 1
    run.idle_preemptions += 1
    run.budget += new
    run.blocked = 0


callable_from_compiled(__name__)
