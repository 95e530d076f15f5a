"""One decision: what it schedules, when its batch ends, what each of its requests does next, and the batch's delivery."""

from __future__ import annotations

import numpy as np

from simulator.engine.gap_histogram import gap_bin
from simulator.engine.kernel import records as rec
from simulator.engine.kernel.admit import admit
from simulator.engine.kernel.prefix_cache import publish, release
from simulator.engine.kernel.price import pass_stages, price_blocks
from simulator.engine.kernel.queue import drop_finished, waiting_count
from simulator.engine.kernel.records import Core, Flights, Int, Log, Pool, Queue, Record, Requests, Served, State, Tables
from simulator.engine.kernel.running import (
    blocks_for,
    clear_event,
    drop_slot,
    full_blocks,
    join_group,
    leave_group,
    longest_context,
)
from simulator.engine.kernel.serve import serve_running, set_next_event, sort_by_admission
from simulator.engine.kernel.windows import held_blocks, leave_step
from simulator.pricing.compiled import callable_from_compiled, index, once


@once
def decide(s: State, tables: Tables) -> None:
    """One pass; its batch, though it be empty, is the newest in flight."""
    core, run = s.core, s.core.run
    run.decided += 1
    run.newest = run.newest + 1 if run.newest + 1 < run.depth else np.int64(0)  # decision d is at d modulo the depth
    place = index(run.newest)
    g = index(0) if run.asynchronous else place
    decided_ns = run.clock
    serve_running(g, s)
    run.decodes = core.groups[g].count
    if run.preempted == 0 and run.budget > 0 and run.running < run.max_num_seqs and waiting_count(core.run) > 0:  # 10
        admit(s)
    run.tokens = run.token_budget - run.budget
    sequences = run.decodes + run.entries
    counts = sequences > 0 or run.preempted > 0
    if sequences > 0:
        longest = longest_context(g, core) + 1 if run.spread and run.decodes > 0 else np.int64(0)
        blocks = price_blocks(g, core.groups[g].context + run.decodes, longest, core, s.flights, tables)
        pass_stages(blocks, np.int64(0), sequences, run, s.flights.stage_free_ns, tables.stages)
    else:
        run.start_ns = run.end_ns = max(decided_ns, s.flights.stage_free_ns[index(run.stages - 1)])
    if counts:
        if run.logging:
            _log_step(g, decided_ns, sequences, core, s.log)
        count_step(decided_ns, sequences, run, s.served)
    flight = s.flights.ring[place]
    flight.end_ns, flight.yields, flight.dones, flight.nonempty = run.end_ns, run.decodes, 0, counts
    run.nonempty_in_flight += counts
    if sequences > 0:
        _advance_decodes(g, place, core, s.requests, s.flights, s.served)
        for k in range(index(run.entries)):
            _advance_entry(g, place, index(core.entries[k]), core, s.requests, s.flights, s.served)


def count_step(decided_ns: Int, sequences: Int, run: Record, served: Served) -> None:
    """Totals of a decision that scheduled a token or preempted somebody."""
    used = run.usable_blocks - run.free
    run.waiting_ns += run.last_waiting * (decided_ns - run.last_decision_ns)
    run.last_decision_ns, run.last_waiting = decided_ns, waiting_count(run)
    run.peak_used_blocks = max(run.peak_used_blocks, used)
    served.by_tokens[index(run.tokens)] += 1
    served.by_sequences[index(sequences)] += 1
    run.makespan_ns = max(run.makespan_ns, run.end_ns)
    if sequences > 0:
        run.used_block_ns += run.last_used * (min(run.start_ns, run.last_end_ns) - run.last_start_ns)
        run.last_start_ns, run.last_end_ns, run.last_used = run.start_ns, run.end_ns, used
    run.logged_entries += sequences
    run.steps += 1


def _log_step(g: Int, decided_ns: Int, sequences: Int, core: Core, log: Log) -> None:
    """Writes a step and its batch, in order of admission, into the log."""
    run, slots, anchor = core.run, core.slots, index(core.run.max_num_seqs)
    row, at = log.steps[index(run.steps)], run.logged_entries
    row.scheduled_ns, row.start_ns, row.end_ns = decided_ns, run.start_ns, run.end_ns
    row.n, row.tokens, row.free_blocks = sequences, run.tokens, run.free
    row.waiting, row.running = waiting_count(core.run), run.running
    decided = run.decided
    for k in range(index(run.entries)):
        slots[index(core.entries[k])].stamp = decided
    slot = index(slots[anchor].after)
    while slot != anchor:
        entry = slots[slot]
        in_step = entry.kind == g
        if in_step or entry.stamp == decided:
            log.batch[index(at), index(0)] = entry.request
            log.batch[index(at), index(1)] = 1 if in_step else entry.chunk
            at += 1
        slot = index(entry.after)


def _advance_decodes(g: Int, place: Int, core: Core, requests: Requests, flights: Flights, served: Served) -> None:
    """The decodes in step have computed a token more; those that have all of theirs leave."""
    run, group, on = core.run, core.groups[g], flights.on_channels
    if run.gaps and group.count > 0:
        served.gaps[index(gap_bin(run.end_ns - group.last_token_ns))] += group.count
    for c in range(index(run.channels)):
        flights.yields_on[place, c] = on[g, index(0), c]
        on[g, index(1), c] += on[g, index(0), c]
    now = group.pass_
    group.last_token_ns, group.last_decision = run.end_ns, run.decided
    group.context += group.count
    group.pass_ = now + 1
    group.phase += 1
    if group.phase == run.block_size:
        group.phase = 0
    while group.next >> rec.SLOT_BITS == now:
        slot = index(group.next & ((1 << rec.SLOT_BITS) - 1))
        row = core.slots[slot]
        total = np.int64(row.total)
        if row.last_pass == now:
            if run.window_kinds:
                leave_step(g, slot, total, core)
            leave_group(g, slot, total, core)
            if run.channels:
                on[g, index(0), index(row.channel)] -= 1
                on[g, index(1), index(row.channel)] -= total
            _leave(slot, total - run.asynchronous, place, core, flights, served)
        else:  # it has published a block
            clear_event(g, slot, core)
            set_next_event(g, slot, total - (row.last_pass - now), core, requests)


def _leave(slot: Int, published: Int, place: Int, core: Core, flights: Flights, served: Served) -> None:
    """The request's last token comes with this batch."""
    row, flight = core.slots[slot], flights.ring[place]
    row.kind, row.computed, row.last = rec.LEAVING, published, core.run.decided
    served.finish_ns[index(row.request)] = core.run.end_ns
    flights.dones[place, index(flight.dones)] = slot
    flight.dones += 1


def _advance_entry(g: Int, place: Int, slot: Int, core: Core, requests: Requests, flights: Flights, served: Served) -> None:
    """A prompt's chunk, or a decode that had fallen behind: a complete prompt yields its first token and keeps step from now on."""
    run, row = core.run, core.slots[slot]
    r, computed = index(row.request), np.int64(row.computed + row.chunk)
    if served.first_scheduled_ns[r] < 0:
        served.first_scheduled_ns[r] = run.start_ns
    row.computed, row.last = computed, run.decided
    if row.kind == rec.PROMPT:
        if computed < row.known:
            return
        run.prompts -= 1
    else:
        run.lates -= 1
    flights.ring[place].yields += 1
    prompt, output = np.int64(requests.prompt[r]), np.int64(requests.output[r])
    done = computed + 1 - prompt
    if done == 1:
        served.first_token_ns[r] = run.end_ns
    elif run.gaps:
        served.gaps[index(gap_bin(run.end_ns - served.last_token_ns[r]))] += 1
    if run.channels:
        flights.yields_on[place, index(row.channel)] += 1
    if done == output:
        row.total = computed
        _leave(slot, computed, place, core, flights, served)
        return
    row.total = prompt + output - 1
    join_group(g, slot, computed, output - done, core)
    set_next_event(g, slot, computed, core, requests)
    if run.channels:
        flights.on_channels[g, index(0), index(row.channel)] += 1
        flights.on_channels[g, index(1), index(row.channel)] += computed


def deliver(core: Core, requests: Requests, queue: Queue, flights: Flights, pool: Pool) -> None:
    """The oldest batch in flight has ended (20): its tokens count, who has all of them leaves."""
    run = core.run
    run.delivered += 1
    run.oldest = run.oldest + 1 if run.oldest + 1 < run.depth else np.int64(0)
    place = index(run.oldest)
    flight = flights.ring[place]
    run.clock = max(run.clock, flight.end_ns)
    run.nonempty_in_flight -= flight.nonempty
    if flight.yields > 0:
        run.idle_preemptions = 0
    for c in range(index(run.channels)):
        flights.channel_tokens[c] += flights.yields_on[place, c]
        flights.yields_on[place, c] = 0
    if run.caching and run.asynchronous and run.lates > 0:
        _publish_late(core, requests, pool)
    if flight.dones > 0:
        if run.caching and flight.dones > 1:
            sort_by_admission(flights.dones[place], flight.dones, core)
        for k in range(index(flight.dones)):
            slot = index(flights.dones[place, k])
            if core.slots[slot].kind == rec.LEAVING and core.slots[slot].last == run.delivered:  # not preempted
                _finish(slot, core, requests, flights, pool)
        run.blocked = 0
    if run.leaving_queue > 0:
        drop_finished(core.run, requests, queue)


def _finish(slot: Int, core: Core, requests: Requests, flights: Flights, pool: Pool) -> None:
    """A request has all its tokens: gives back its blocks and its seat."""
    run, row = core.run, core.slots[slot]
    total = np.int64(row.total)
    run.finished += 1
    if run.caching:
        full = full_blocks(total, core.run)
        if run.outputs_recur:
            publish(slot, full, core, requests, pool)
        if run.by_priority:
            full = np.int64(row.published)
        run.free += release(slot, blocks_for(total, core.run), full, np.int64(0), core, pool)
    else:
        run.free += held_blocks(slot, total, core)
    if run.channels:
        flights.channel_tokens[index(row.channel)] -= total + 1
    drop_slot(slot, core)


def _publish_late(core: Core, requests: Requests, pool: Pool) -> None:
    """Decodes that have fallen behind publish what the token just delivered has made known (18)."""
    slots, anchor = core.slots, index(core.run.max_num_seqs)
    slot = index(slots[anchor].after)
    while slot != anchor:
        row = slots[slot]
        if row.kind == rec.LATE and row.last == core.run.delivered:
            publish(slot, full_blocks(np.int64(row.computed), core.run), core, requests, pool)
        slot = index(row.after)


callable_from_compiled(__name__)
