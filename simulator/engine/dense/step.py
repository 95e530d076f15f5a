"""One decision with its batch, and the batch's delivery."""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.admit import admit
from simulator.engine.dense.prefix_cache import publish
from simulator.engine.dense.price import draft_time_ns, price_blocks
from simulator.engine.dense.records import Core, Drafts, State, Tables
from simulator.engine.dense.serve import serve_running, stop
from simulator.engine.dense.tables import held_blocks
from simulator.engine.gap_histogram import gap_bin
from simulator.engine.kernel.price import pass_stages
from simulator.engine.kernel.queue import take, waiting_count
from simulator.engine.kernel.records import Int, Served
from simulator.engine.kernel.step import count_step
from simulator.pricing.compiled import callable_from_compiled, index, once
from simulator.scheduler.acceptance import accepted_of, mix


@once
def decide(s: State, tables: Tables) -> None:
    """One pass; its batch, though it be empty, is the newest in flight."""
    core, run = s.core, s.core.run
    run.decided += 1
    run.newest = run.newest + 1 if run.newest + 1 < run.depth else np.int64(0)
    decided_ns, running = run.clock, run.order
    serve_running(s)
    if run.preempted == 0 and run.budget > run.drafting and run.running < run.max_num_seqs and waiting_count(core.run) > 0:  # 10
        admit(s)
    counts = run.entries > 0 or run.preempted > 0
    run.tokens = 0
    if run.entries > 0:
        blocks = price_blocks(core, s.flights, tables)
        pass_stages(blocks, draft_time_ns(core, tables), run.entries, run, s.flights.stage_free_ns, tables.stages)
        for k in range(run.entries - (run.order - running), run.entries):  # those just admitted
            r = index(s.flights.batches[index(run.newest), index(k)].request)
            if s.served.first_scheduled_ns[r] < 0:
                s.served.first_scheduled_ns[r] = run.start_ns
    else:
        run.start_ns = run.end_ns = max(decided_ns, s.flights.stage_free_ns[index(run.stages - 1)])
    if counts:
        if run.logging:
            _log_step(decided_ns, s)
        count_step(decided_ns, run.entries, run, s.served)
    flight = s.flights.ring[index(run.newest)]
    flight.end_ns, flight.yields, flight.nonempty = run.end_ns, run.entries, counts
    run.nonempty_in_flight += counts


def _log_step(decided_ns: Int, s: State) -> None:
    """Writes a step and its batch into the log."""
    run, log = s.core.run, s.log
    step = log.steps[index(run.steps)]
    step.scheduled_ns, step.start_ns, step.end_ns = decided_ns, run.start_ns, run.end_ns
    step.n, step.tokens, step.free_blocks = run.entries, run.tokens, run.free
    step.waiting, step.running = waiting_count(s.core.run), run.running
    for k in range(index(run.entries)):
        entry = s.flights.batches[index(run.newest), k]
        entry.logged = run.logged_entries + np.int64(k)
        row = log.batch[index(entry.logged)]
        row.request, row.new, row.computed, row.drafts, row.outputs = entry.request, entry.new, entry.computed, entry.checked, 0
    for g in range(index(run.kv_groups)):
        for i in range(index(run.running)):
            log.held[index(run.steps), g] += held_blocks(index(s.core.order[i]), g, s.core, s.pool)


def deliver(s: State) -> None:
    """The oldest batch in flight has ended (20): hands out its tokens in batch order."""
    core, run = s.core, s.core.run
    run.delivered += 1
    run.oldest = run.oldest + 1 if run.oldest + 1 < run.depth else np.int64(0)
    place = index(run.oldest)
    flight = s.flights.ring[place]
    run.clock = max(run.clock, flight.end_ns)
    run.nonempty_in_flight -= flight.nonempty
    for k in range(index(flight.yields)):
        entry, given = s.flights.batches[place, k], np.int64(0)
        row = core.slots[index(entry.slot)]
        running = row.order == entry.order
        if running:
            row.flying -= entry.new
        if entry.yields:
            checked = np.int64(0) if entry.padded else np.int64(entry.checked)
            if running:
                given = _hand_out(index(entry.slot), np.int64(entry.checked), checked, flight.end_ns, s)
            elif s.served.finish_ns[index(entry.request)] < 0:
                given = _hand_to_waiting(index(entry.request), checked, flight.end_ns, s)
            if given > 0:
                run.idle_preemptions = 0
                run.accepted += given - 1
                if run.logging:
                    s.log.batch[index(entry.logged)].outputs = given


def accepted_drafts(r: Int, luck: Int, outputs: Int, checked: Int, recorded: Int, drafts: Drafts) -> Int:
    """Of `checked` > 0 drafts of request r, which has `outputs` tokens, how many the target accepts (S13)."""
    if recorded:
        first = drafts.accepted_at[r]
        turn = np.int64(index(drafts.verified[r]) % index(drafts.accepted_at[index(r + 1)] - first))
        drafts.verified[r] += 1
        return min(np.int64(drafts.accepted[index(first + turn)]), checked)
    number = mix(np.int64(luck) ^ mix((outputs + np.int64(0x9E3779B9)) & np.int64(0xFFFFFFFF)))
    return np.int64(accepted_of(number, drafts.thresholds, checked))


def _hand_out(slot: Int, drafts: Int, checked: Int, end_ns: Int, s: State) -> Int:
    """A running request gets one token and one for every accepted draft, up to its end; rejected ones are computed again (S12).
    Returns how many."""
    core, run, row, accepted = s.core, s.core.run, s.core.slots[slot], np.int64(0)
    outputs = np.int64(row.known - row.prompt)
    if checked > 0:
        accepted = accepted_drafts(index(row.request), row.luck, outputs, checked, run.recorded, s.drafts)
    given = min(1 + accepted, np.int64(row.goal - row.known))
    row.known += given
    row.computed -= drafts - accepted
    if run.channels:
        s.flights.channel_tokens[index(row.channel)] += given
    if run.asynchronous:
        row.pending -= drafts - accepted + given
        if run.caching:
            publish(slot, np.int64(row.computed - row.pending), core, s.requests, s.pool)  # 18
    done = row.known == row.goal
    if outputs == 0 or done or run.gaps:
        _note_token(index(row.request), outputs == 0, done, end_ns, core, s.served)
    if done:
        place = np.int64(0)
        while core.order[index(place)] != slot:
            place += 1
        stop(place, s)
    elif not run.asynchronous and run.draft_tokens:
        row.drafts = _proposed(index(row.request), core, s.drafts)  # S14
    return given


def _proposed(r: Int, core: Core, drafts: Drafts) -> Int:
    """Drafts for the next step of a request, after one that gave tokens."""
    if core.run.recorded < 2:
        return core.run.draft_tokens
    first = drafts.proposed_at[r]
    turn = np.int64(index(drafts.proposals[r]) % index(drafts.proposed_at[index(r + 1)] - first))
    drafts.proposals[r] += 1
    return np.int64(drafts.proposed[index(first + turn)])


def _hand_to_waiting(r: Int, checked: Int, end_ns: Int, s: State) -> Int:
    """A request that has been preempted since gets its tokens (S18); with the last one it leaves the queue. Returns how many."""
    core, requests, queue, accepted = s.core, s.requests, s.queue, np.int64(0)
    outputs = np.int64(queue.done[r])
    if checked > 0:
        luck = np.int64(0) if core.run.recorded else np.int64(s.drafts.luck[r])
        accepted = accepted_drafts(r, luck, outputs, checked, core.run.recorded, s.drafts)
    given = min(1 + accepted, requests.output[r] - outputs)
    queue.done[r] += given
    done = queue.done[r] == requests.output[r]
    _note_token(r, outputs == 0, done, end_ns, core, s.served)
    if done:
        place = np.int64(0)
        while queue.waiters[index(place)] != r:
            place += 1
        take(place, core.run, requests, queue)
    return given


def _note_token(r: Int, first: bool, done: bool, end_ns: Int, core: Core, served: Served) -> None:
    """Writes down when a token came."""
    run = core.run
    if first:
        served.first_token_ns[r] = end_ns
    if run.gaps:
        if not first:
            served.gaps[index(gap_bin(end_ns - served.last_token_ns[r]))] += 1
        served.last_token_ns[r] = end_ns
    if done:
        served.finish_ns[r] = end_ns
        run.finished += 1


callable_from_compiled(__name__)
