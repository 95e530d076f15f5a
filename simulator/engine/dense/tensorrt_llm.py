"""TensorRT-LLM's pass in the dense kernel; numbers in comments are the rules of the engines' specification (see
`scheduler.policies.tensorrt_llm`).

Running requests lie in order of arrival, and so does the queue, from `first_waiter` on. A row of `shares` is a request that an
iteration looks at: its number, its slot + 1 (0: it waits), its tokens, and what the iteration gives it.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.prefix_cache import find_hit, idle_in_hit, publish, share_hit
from simulator.engine.dense.records import Core, State
from simulator.engine.dense.serve import stop
from simulator.engine.dense.start import place_on_channel
from simulator.engine.dense.tables import extend
from simulator.engine.kernel.prefix_cache import identity
from simulator.engine.kernel.records import Int, Requests
from simulator.engine.kernel.running import blocks_for, full_blocks
from simulator.pricing.compiled import callable_from_compiled, index

NO_BLOCK = np.int64(-1)
REQUEST, PLACE, MISSING, GIVEN = (np.uint64(column) for column in range(4))  # columns of `shares`


def schedule(s: State) -> None:
    """One iteration (3.2.1): by KV memory which requests may run, then by tokens what of them does."""
    run = s.core.run
    run.entries = run.preempted = run.prefilling = 0
    run.budget = run.token_budget
    while run.head < run.joined:
        s.queue.waiters[index(run.first_waiter + run.stack)] = run.head
        run.stack += 1
        run.head += 1
    fitting = _reserving(s) if run.reserves else _pausing(s)
    contexts, generations, generation_from = _share_tokens(fitting, s)
    if contexts > 0 and generations > 0 and _held_back(contexts, generations, s):
        contexts = np.int64(0)
    shares = s.core.shares
    for k in range(index(contexts)):  # all hits are taken before a block is that might hold one
        if shares[k, PLACE] == 0:
            shares[k, PLACE] = _start(index(shares[k, REQUEST]), s) + 1
    for k in range(index(contexts)):
        _add(index(shares[k, PLACE] - 1), shares[k, GIVEN], s)
    for k in range(index(generation_from), index(generation_from + generations)):
        _add(index(shares[k, PLACE] - 1), np.int64(1), s)


# By memory


def _reserving(s: State) -> Int:
    """Those that may run when every one keeps blocks for all its tokens (3.2.2). Nothing is ever paused. Returns how many."""
    core, run, requests, shares = s.core, s.core.run, s.requests, s.core.shares
    left, computing, count = run.free, _first_blocks_under_way(s), np.int64(0)
    for i in range(index(run.running)):
        row = core.slots[index(core.order[i])]
        left -= blocks_for(np.int64(row.goal), run) - s.pool.length[index(core.order[i]), index(0)]
        if not _in_context(index(core.order[i]), core):
            count = _note(count, np.int64(row.request), np.int64(core.order[i]) + 1, s)
    first = count
    for i in range(index(run.running)):
        if _in_context(index(core.order[i]), core):
            count = _note(count, np.int64(core.slots[index(core.order[i])].request), np.int64(core.order[i]) + 1, s)
    for k in range(index(_active(core))):
        r = index(s.queue.waiters[index(run.first_waiter + np.int64(k))])
        known = np.int64(requests.prompt[r]) + s.queue.done[r]
        hit, has = _cached(r, known, s)
        waits, computing = _waits_to_reuse(r, known, hit, computing, s)
        if waits:
            continue
        needed = blocks_for(np.int64(requests.prompt[r] + requests.output[r]), run) - has
        if needed > left:
            break
        left -= needed
        count = _note(count, np.int64(r), np.int64(0), s)
        at = index(count - 1)  # prompts in order of arrival
        while at > first and shares[index(at - 1), REQUEST] > shares[at, REQUEST]:
            for column in range(4):
                shares[at, column], shares[index(at - 1), column] = shares[index(at - 1), column], shares[at, column]
            at = index(at - 1)
    return count


def _pausing(s: State) -> Int:
    """Those that may run when each has blocks for its next step alone, two steps with overlap (3.2.3). Where blocks are short the
    request that started last is paused, and the walk goes on without it and those behind it. Returns how many."""
    core, run, queue, shares = s.core, s.core.run, s.queue, s.core.shares
    listed, i, k, active = np.int64(0), np.int64(0), np.int64(0), _active(core)
    while i < run.running or k < active:  # both in order of arrival
        slot = index(core.order[index(i)]) if i < run.running else index(0)
        waiter = np.int64(queue.waiters[index(run.first_waiter + k)]) if k < active else np.int64(1 << 40)
        if i < run.running and core.slots[slot].request < waiter:
            listed = _note(listed, np.int64(core.slots[slot].request), np.int64(slot) + 1, s)
            i += 1
        else:
            listed = _note(listed, waiter, np.int64(0), s)
            k += 1
    while True:
        stopped = _walk(listed, s)
        last = listed - 1
        while last >= stopped and shares[index(last), PLACE] == 0:
            last -= 1
        if last < stopped:
            break
        _pause(index(shares[index(last), PLACE] - 1), s)
        listed = last
    count = np.int64(0)  # those that were passed over leave the list
    for at in range(index(stopped)):
        if shares[at, GIVEN] == 1:
            for column in range(4):
                shares[index(count), column] = shares[at, column]
            count += 1
    return count


def _walk(listed: Int, s: State) -> Int:
    """Marks requests that have blocks for their next step (`GIVEN`), and returns how far down the list that is."""
    run, shares, taken, computing = s.core.run, s.core.shares, np.int64(0), _first_blocks_under_way(s)
    for at in range(index(listed)):
        r, place = index(shares[at, REQUEST]), shares[at, PLACE]
        shares[at, GIVEN] = 0
        needed = np.int64(0)
        if place == 0:
            known = np.int64(s.requests.prompt[r]) + s.queue.done[r]
            hit, has = _cached(r, known, s)
            waits, computing = _waits_to_reuse(r, known, hit, computing, s)
            if waits:
                continue
            needed = blocks_for(known, run) - has
        elif not _in_context(index(place - 1), s.core):
            row = s.core.slots[index(place - 1)]
            upto = min(np.int64(row.computed) + 1 + run.asynchronous, max(np.int64(row.goal), np.int64(row.computed) + 1))
            needed = blocks_for(upto, run) - s.pool.length[index(place - 1), index(0)]
        if taken + needed > run.free:
            return np.int64(at)
        taken += needed
        shares[at, GIVEN] = 1
    return np.int64(listed)


def _note(count: Int, r: Int, place: Int, s: State) -> Int:
    """Appends a request to the list; returns its new length."""
    shares, at = s.core.shares, index(count)
    shares[at, REQUEST], shares[at, PLACE], shares[at, MISSING], shares[at, GIVEN] = r, place, 0, 0
    return count + 1


def _active(core: Core) -> Int:
    """Waiting requests that the engine has taken in: no more than `max_num_seqs` with the running ones."""
    return min(core.run.stack, max(core.run.max_num_seqs - core.run.running, np.int64(0)))


def _in_context(slot: Int, core: Core) -> bool:
    """Whether a running request has not computed its prompt yet, or after a pause what it had."""
    return core.slots[slot].computed < core.slots[slot].context


def _cached(r: Int, known: Int, s: State) -> tuple[Int, Int]:
    """Cached tokens of a waiting request, and those of their blocks that others use, which it need not take."""
    if not s.core.run.caching:
        return np.int64(0), np.int64(0)
    hit = find_hit(r, known, s.core, s.requests, s.pool)
    return hit, full_blocks(hit, s.core.run) - idle_in_hit(hit, s.core, s.pool)


def _waits_to_reuse(r: Int, known: Int, hit: Int, computing: Int, s: State) -> tuple[bool, Int]:
    """Whether the first block that a request lacks is being computed for another one (3.2.4), and how many such there are."""
    first = _first_missing(r, known, full_blocks(hit, s.core.run), s.core, s.requests)
    if first == NO_BLOCK:
        return False, computing
    for k in range(index(computing)):
        if s.core.computing[k] == first:
            return True, computing
    s.core.computing[index(computing)] = first
    return False, computing + 1


def _first_blocks_under_way(s: State) -> Int:
    """Notes the identities of the first blocks that prompts under way have not put into the cache yet; returns how many."""
    core, count = s.core, np.int64(0)
    for i in range(index(core.run.running)):
        slot = index(core.order[i])
        row = core.slots[slot]
        if _in_context(slot, core):
            published = np.int64(s.pool.published[slot, index(0)])
            first = _first_missing(index(row.request), np.int64(row.known), published, core, s.requests)
            if first != NO_BLOCK:
                core.computing[index(count)] = first
                count += 1
    return count


def _first_missing(r: Int, known: Int, have: Int, core: Core, requests: Requests) -> Int:
    """Identity of the block behind the first `have` ones, if all of it is known and one token more."""
    if not core.run.caching or full_blocks(known - 1, core.run) <= have:
        return NO_BLOCK
    return identity(r, have, requests)


# By tokens


def _share_tokens(fitting: Int, s: State) -> tuple[Int, Int, Int]:
    """Prompts and decodes of the iteration (3.2.5): how many prompts, which then lead the list, how many decodes, and where these
    begin in it."""
    core, run, shares = s.core, s.core.run, s.core.shares
    budget, contexts, generations, missing = run.token_budget, np.int64(0), np.int64(0), np.int64(0)
    other = index(run.max_num_seqs + 1)  # decodes are gathered behind the list
    for at in range(index(fitting)):
        place = shares[at, PLACE]
        if place > 0 and not _in_context(index(place - 1), core):
            if budget < 1:
                break
            budget -= 1
            shares[index(np.int64(other) + generations), PLACE] = place
            generations += 1
            continue
        new = _missing(index(shares[at, REQUEST]), place, s)
        if not run.chunked:
            if new > budget:
                break
            budget -= new
        for column in range(2):
            shares[index(contexts), column] = shares[at, column]
        shares[index(contexts), MISSING] = shares[index(contexts), GIVEN] = new
        contexts += 1
        missing += new
    if run.chunked and missing > budget:
        contexts = _in_turn(contexts, budget, s) if run.in_turn else _evenly(contexts, budget, s)
    return contexts, generations, np.int64(other)


def _missing(r: Int, place: Int, s: State) -> Int:
    """Tokens of its prompt that a request has yet to compute."""
    if place > 0:
        row = s.core.slots[index(place - 1)]
        return np.int64(row.context - row.computed)
    known = np.int64(s.requests.prompt[r]) + s.queue.done[r]
    return known - _cached(r, known, s)[0]


def _in_turn(contexts: Int, budget: Int, s: State) -> Int:
    """First come, first served (3.2.6): whole prompts while they fit, then what is left, in whole units. Returns how many run."""
    run, shares = s.core.run, s.core.shares
    for k in range(index(contexts)):
        missing = shares[k, MISSING]
        shares[k, GIVEN] = missing if missing <= budget else np.int64(index(budget) // index(run.chunk_unit)) * run.chunk_unit
        budget -= shares[k, GIVEN]
    return _without_idle(contexts, s.core)


def _evenly(contexts: Int, budget: Int, s: State) -> Int:
    """Equal progress (3.2.6): a unit for each in turn until the budget is used. Returns how many run."""
    run, shares, moved = s.core.run, s.core.shares, True
    for k in range(index(contexts)):
        shares[k, GIVEN] = 0
    while moved and budget > 0:
        moved = False
        for k in range(index(contexts)):
            more = min(run.chunk_unit, shares[k, MISSING] - shares[k, GIVEN])
            if 0 < more <= budget:
                shares[k, GIVEN] += more
                budget -= more
                moved = True
    return _without_idle(contexts, s.core)


def _without_idle(contexts: Int, core: Core) -> Int:
    """Takes prompts that get no token off the list; returns how many are left."""
    count = np.int64(0)
    for k in range(index(contexts)):
        if core.shares[k, GIVEN] > 0:
            for column in range(4):
                core.shares[index(count), column] = core.shares[k, column]
            count += 1
    return count


def _held_back(contexts: Int, generations: Int, s: State) -> bool:
    """Whether the prompts wait for more to come, so that decodes stay in graphs (3.2.8)."""
    run, tokens = s.core.run, generations
    for k in range(index(contexts)):
        tokens += s.core.shares[k, GIVEN]
    if not run.wait_iterations or run.waited >= run.wait_iterations or tokens >= run.wait_tokens:
        run.waited = 0
        return False
    run.waited += 1
    return True


# Single actions


def _start(r: Int, s: State) -> Int:
    """A waiting request starts, with the cached blocks that it finds; returns its slot."""
    core, run, queue = s.core, s.core.run, s.queue
    prompt = np.int64(s.requests.prompt[r])
    known, hit = prompt + queue.done[r], np.int64(0)
    at = run.first_waiter
    while queue.waiters[index(at)] != r:
        at += 1
    while at > run.first_waiter:  # those before it move up
        queue.waiters[index(at)] = queue.waiters[index(at - 1)]
        at -= 1
    run.first_waiter += 1
    run.stack -= 1
    slot = index(core.free_slots[index(run.max_num_seqs - run.running - 1)])
    place = run.running
    while place > 0 and core.slots[index(core.order[index(place - 1)])].request > r:
        core.order[index(place)] = core.order[index(place - 1)]
        place -= 1
    core.order[index(place)] = slot
    run.running += 1
    run.order += 1
    row = core.slots[slot]
    row.request, row.order, row.last, row.previous = r, run.order, 0, 0
    row.pending = row.drafts = row.flying = row.prefilling = row.junction = 0
    if run.caching:
        hit = find_hit(r, known, core, s.requests, s.pool)
        share_hit(slot, hit, core, s.pool)
    row.prompt, row.known, row.context, row.goal, row.computed = prompt, known, known, prompt + s.requests.output[r], hit
    place_on_channel(slot, s)
    if s.served.first_scheduled_ns[r] < 0:
        s.served.cached_tokens[r] = hit
    if run.logging:
        k = index(run.logged_admissions)
        s.log.admissions[k, 0], s.log.admissions[k, 1], s.log.admissions[k, 2] = run.steps, r, hit
    run.logged_admissions += 1
    return np.int64(slot)


def _add(slot: Int, new: Int, s: State) -> None:
    """Puts a request into the batch. A prompt takes all its blocks with its first tokens."""
    core, run, row = s.core, s.core.run, s.core.slots[slot]
    entry = s.flights.batches[index(run.newest), index(run.entries)]
    run.entries += 1
    run.budget -= new
    after = np.int64(row.computed) + new
    extend(slot, max(after, np.int64(row.context)), core, s.pool)
    entry.request, entry.slot, entry.order, entry.new, entry.computed = row.request, slot, row.order, new, row.computed
    entry.checked, entry.padded, entry.yields = 0, 0, after >= row.context
    row.computed, row.last = after, run.decided


def _pause(slot: Int, s: State) -> None:
    """A request's blocks are freed, it computes prompt and outputs again, and its tokens in flight are lost."""
    core, run, queue, place = s.core, s.core.run, s.queue, np.int64(0)
    row = core.slots[slot]
    r = index(row.request)
    queue.done[r], queue.due[r] = row.known - row.prompt, 0
    while core.order[index(place)] != slot:
        place += 1
    stop(place, s)
    at = run.first_waiter  # it goes back to its place in order of arrival
    if run.first_waiter > 0:
        run.first_waiter -= 1
        at = run.first_waiter
        while at < run.first_waiter + run.stack and queue.waiters[index(at + 1)] < r:
            queue.waiters[index(at)] = queue.waiters[index(at + 1)]
            at += 1
    else:
        at = run.stack
        while at > 0 and queue.waiters[index(at - 1)] > r:
            queue.waiters[index(at)] = queue.waiters[index(at - 1)]
            at -= 1
    queue.waiters[index(at)] = r
    run.stack += 1
    if run.logging:
        s.log.preempted[index(run.preemptions), 0], s.log.preempted[index(run.preemptions), 1] = run.steps, r
    s.served.preemptions[r] += 1
    run.preemptions += 1
    run.preempted += 1


def publish_delivered(slot: Int, tokens: Int, s: State) -> None:
    """Full blocks can be reused once the whole prompt is computed, those of outputs at the end. `tokens`: at the batch's end."""
    row = s.core.slots[slot]
    if row.known == row.goal or row.known == row.context + 1:
        publish(slot, min(tokens, np.int64(row.known) - 1), s.core, s.requests, s.pool)


callable_from_compiled(__name__, apart=("schedule", "_cached", "_waits_to_reuse", "_first_blocks_under_way", "_start"))
