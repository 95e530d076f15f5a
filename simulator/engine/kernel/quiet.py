"""Runs of steps in which nothing but decoding happens: all decodes in step, nobody arrives, is admitted, finishes or lacks a
block. A few nanoseconds a step."""

from __future__ import annotations

import numpy as np

from simulator.costs.lookup import blocks_time_ns, decode_cell, decode_in_cell_ns
from simulator.costs.numbers import index, inlined
from simulator.costs.step import SERIAL
from simulator.engine.kernel.prefix_cache import take_blocks
from simulator.engine.kernel.queue import waiting_count
from simulator.engine.kernel.records import NEVER, SLOT_BITS, Core, DecodeTables, Flights, Pool, Requests, Served, StageTables
from simulator.engine.kernel.running import longest_context
from simulator.results.gaps import gap_bin


@inlined
def is_quiet(core: Core, flights: Flights) -> bool:
    """Whether the next passes, up to the group's next event, the next arrival or a lack of blocks, can only be of decodes in step."""
    run, group = core.run, core.groups[index(0)]
    if run.prompts > 0 or run.lates > 0 or group.count == 0 or group.next >> SLOT_BITS <= group.pass_:
        return False
    if run.logging or run.channels or run.stages > 1:
        return False
    if not (waiting_count(core) == 0 or run.blocked or run.running == run.max_num_seqs):
        return False
    if not run.asynchronous:
        return True
    flight = flights.ring[index(run.decided % run.depth)]  # its end must change nothing but the clock
    return run.decided == run.delivered + 1 and run.stack == 0 and flight.dones == 0


@inlined
def decode_quietly(
    core: Core, requests: Requests, flights: Flights, served: Served, pool: Pool, stages: StageTables, decodes: DecodeTables,
    until_ns: int
) -> int:
    """Makes such passes; returns how many. What they add to the totals is added at their end."""
    run, group, residues = core.run, core.groups[index(0)], core.residues
    count, n = group.count, index(group.count)
    horizon = min(until_ns, np.int64(NEVER))
    if run.joined < min(run.requests, run.clients + run.finished):
        horizon = min(horizon, requests.arrival_ns[index(run.joined)])
    asynchronous, serial, gaps = run.asynchronous != 0, run.overlap == SERIAL, run.gaps != 0
    host, linear = stages.host_ns[n], stages.linear_ns[n]
    fixed = stages.stage_tokens_ns[index(0), n] + stages.stage_sequences_ns[index(0), n]
    inverse, spread = decodes.inverse[n], decodes.spread_ns[n]
    longest = np.int64(0)
    if spread != 0.0:
        longest = longest_context(index(0), core) + 1 - group.pass_
    clock, stage_free, free, phase, context = run.clock, flights.stage_free_ns[0], run.free, group.phase, group.context + count
    flying = flights.ring[index(run.decided % run.depth)].end_ns if asynchronous else stage_free
    last_token, token_bin, in_bin = group.last_token_ns, index(0), np.int64(0)
    first, now, end = group.pass_, group.pass_, group.next >> SLOT_BITS
    used_ns = decode_ns = blocks_sum = np.int64(0)
    last_start, last_end, last_used, decided = run.last_start_ns, run.last_end_ns, run.last_used, run.last_decision_ns
    first_decided = clock
    base = slope = 0.0
    above = -1.0  # sum of contexts at which the present cell of the table ends
    while now < end and clock < horizon:
        taken = np.int64(residues[index(0), index(phase)])
        if taken > free:
            break
        free -= taken
        phase += 1
        if phase == run.block_size:
            phase = np.int64(0)
        if context >= above:
            c = decode_cell(count, context, decodes.knots, decodes.marks, inverse)
            base, slope = decodes.base_ns[n, c], decodes.slope_ns[n, c]
            above = decodes.knots[index(c + 1)] * count if np.int64(c) < len(decodes.knots) - 2 else np.inf
        decode = decode_in_cell_ns(context, longest + now, base, slope, spread, inverse)
        blocks = linear + decode
        if not serial:
            blocks = blocks_time_ns(run.overlap, linear, 0, decode, stages.half_before_ns[n], stages.half_after_ns[n], run.layers)
        decode_ns += decode
        blocks_sum += blocks
        decided = clock
        clock += host
        start = max(clock, stage_free)
        stage_free = start + blocks + fixed
        used_ns += last_used * (min(start, last_end) - last_start)
        last_start, last_end, last_used = start, stage_free, run.usable_blocks - free
        if gaps:
            into = index(gap_bin(stage_free - last_token))
            if into != token_bin:
                served.gaps[token_bin] += in_bin
                token_bin, in_bin = into, np.int64(0)
            in_bin += count
            last_token = stage_free
        clock = max(clock, flying) if asynchronous else stage_free
        flying = stage_free
        context += count
        now += 1
    made = now - first
    if made == 0:
        return made
    if gaps:
        served.gaps[token_bin] += in_bin
    waiting = waiting_count(core)
    run.waiting_ns += run.last_waiting * (first_decided - run.last_decision_ns) + waiting * (decided - first_decided)
    run.last_decision_ns, run.last_waiting = decided, waiting
    run.used_block_ns += used_ns
    run.last_start_ns, run.last_end_ns, run.last_used = last_start, last_end, last_used
    run.peak_used_blocks = max(run.peak_used_blocks, last_used)
    run.makespan_ns = max(run.makespan_ns, stage_free)
    run.steps += made
    run.logged_entries += made * count
    run.decode_sequences += made * count
    run.decode_context += made * (group.context + count) + count * (made * (made - 1) // 2)
    run.decode_ns += decode_ns
    run.blocks_ns += blocks_sum
    served.by_tokens[n] += made
    served.by_sequences[n] += made
    if run.caching:
        take_blocks(run.free - free, core, pool)
    run.clock, run.free = clock, free
    flights.stage_free_ns[0] = stage_free
    group.pass_, group.phase, group.last_token_ns = now, phase, stage_free
    group.context += made * count
    run.decided += made
    run.delivered += made
    group.last_decision = run.decided
    run.idle_preemptions = 0
    flight = flights.ring[index(run.decided % run.depth)]
    flight.end_ns, flight.decision, flight.yields, flight.dones, flight.nonempty = stage_free, run.decided, count, 0, 1
    return made
