"""Runs of decode-only steps in one tight loop: all decodes in lockstep, nobody arrives, is admitted, finishes or lacks a
block. A few nanoseconds a step."""

from __future__ import annotations

import numpy as np

from simulator.engine.gap_histogram import gap_bin
from simulator.engine.kernel.prefix_cache import take_blocks
from simulator.engine.kernel.queue import waiting_count
from simulator.engine.kernel.records import SLOT_BITS, Core, DecodeTables, Flights, Int, Pool, Requests, Served, StageTables, Tables
from simulator.engine.kernel.running import longest_context
from simulator.pricing.compiled import callable_from_compiled, index
from simulator.pricing.step import SERIAL
from simulator.pricing.step_time import blocks_time_ns, decode_cell, decode_in_cell_ns, decode_on_line_ns


def is_quiet(core: Core, flights: Flights) -> bool:
    """Whether the next passes can only be of decodes in step, up to the group's next event, an arrival or a lack of blocks."""
    run, group = core.run, core.groups[index(0)]
    if run.prompts > 0 or run.lates > 0 or group.count == 0 or group.next >> SLOT_BITS <= group.pass_:
        return False
    if run.logging or run.channels or run.stages > 1:
        return False
    blocked = run.blocked and run.window_kinds == 0  # windows give blocks back all the time
    if not (waiting_count(core.run) == 0 or blocked or run.running == run.max_num_seqs):
        return False
    if not run.asynchronous:
        return True
    flight = flights.ring[index(run.newest)]  # its end must change nothing but the clock
    return run.decided == run.delivered + 1 and run.stack == 0 and flight.dones == 0


def decode_quietly(
    until_ns: Int, core: Core, requests: Requests, flights: Flights, served: Served, pool: Pool, tables: Tables
) -> Int:
    """Makes such passes; returns how many. What they add to the totals is added at their end."""
    run, group = core.run, core.groups[index(0)]
    horizon = until_ns
    if run.joined < min(run.requests, run.clients + run.finished):
        horizon = min(horizon, requests.arrival_ns[index(run.joined)])
    first, free, decided_ns = group.pass_, run.free, run.clock
    count, waiting = group.count, waiting_count(core.run)
    last_decision_ns = run.last_decision_ns
    if run.asynchronous or run.gaps or run.overlap != SERIAL or tables.decodes.spread_ns[index(count)] != 0.0:
        _any_steps(horizon, core, flights, served, tables.stages, tables.decodes)
    else:
        _plain_steps(horizon, core, tables.stages, tables.decodes)
    made, n = group.pass_ - first, index(count)
    if made > 0:
        run.waiting_ns += run.last_waiting * (decided_ns - last_decision_ns) + waiting * (run.last_decision_ns - decided_ns)
        run.last_waiting = waiting
        run.makespan_ns = max(run.makespan_ns, run.last_end_ns)
        run.steps += made
        run.logged_entries += made * count
        run.decode_sequences += made * count
        run.decode_context += made * (group.context + count) + count * (made * (made - 1) // 2)
        served.by_tokens[n] += made
        served.by_sequences[n] += made
        if run.caching:
            take_blocks(free - run.free, core, pool)
        flights.stage_free_ns[0] = group.last_token_ns = run.last_end_ns
        group.context += made * count
        run.decided += made
        run.delivered += made
        if run.asynchronous:
            run.newest, run.oldest = run.decided & 1, run.delivered & 1
        group.last_decision = run.decided
        run.idle_preemptions = 0
        flight = flights.ring[index(run.newest)]
        flight.end_ns, flight.yields, flight.dones, flight.nonempty = run.last_end_ns, count, 0, 1
    return made


def _plain_steps(horizon: Int, core: Core, stages: StageTables, decodes: DecodeTables) -> None:
    """Passes with one batch in flight, attention after the linear operators, at no cost for the spread of contexts."""
    run, group, residues, drops, growing = core.run, core.groups[index(0)], core.residues, core.drops, core.run.growing
    count, n, size = group.count, index(group.count), index(run.block_size)
    host, linear = stages.host_ns[n], stages.linear_ns[n]
    fixed = linear + stages.stage_tokens_ns[index(0), n] + stages.stage_sequences_ns[index(0), n]
    clock, free, phase, context, usable = run.clock, run.free, index(group.phase), group.context + count, run.usable_blocks
    first, now, end = group.pass_, group.pass_, group.next >> SLOT_BITS
    began, used_ns, duration, used, peak = clock, np.int64(0), np.int64(0), np.int64(0), run.peak_used_blocks
    base = slope = 0.0
    above = -1.0  # sum of contexts at which the present cell of the table ends
    while now < end and clock < horizon:
        taken = residues[index(0), phase] * growing
        if taken > free:
            break
        free += drops[index(0), phase] - taken
        phase = index(phase + 1)
        if phase == size:
            phase = index(0)
        if context >= above:
            c = decode_cell(count, context, decodes.knots, decodes.marks, decodes.inverse[n])
            base, slope = decodes.base_ns[n, c], decodes.slope_ns[n, c]
            above = decodes.knots[index(c + 1)] * count if np.int64(c) < len(decodes.knots) - 2 else np.inf
        duration = fixed + decode_on_line_ns(context, base, slope)
        used = usable - free
        peak = max(peak, used)
        used_ns += used * duration
        clock += host + duration
        context += count
        now += 1
    made = now - first
    if made > 0:
        run.used_block_ns += run.last_used * (run.last_end_ns - run.last_start_ns) + used_ns - used * duration
        run.last_start_ns, run.last_end_ns, run.last_used = clock - duration, clock, used
        run.last_decision_ns = clock - duration - host
        attention = clock - began - made * (host + fixed)
        run.decode_ns += attention
        run.peak_used_blocks = peak
        run.blocks_ns += made * linear + attention
        run.clock, run.free, group.pass_, group.phase = clock, free, now, phase


def _any_steps(horizon: Int, core: Core, flights: Flights, served: Served, stages: StageTables, decodes: DecodeTables) -> None:
    """Passes with one stage, whatever their price depends on."""
    run, group, residues, drops, growing = core.run, core.groups[index(0)], core.residues, core.drops, core.run.growing
    count, n, size = group.count, index(group.count), index(run.block_size)
    host, linear = stages.host_ns[n], stages.linear_ns[n]
    fixed = stages.stage_tokens_ns[index(0), n] + stages.stage_sequences_ns[index(0), n]
    inverse, spread, longest = decodes.inverse[n], decodes.spread_ns[n], np.int64(0)
    if spread != 0.0:
        longest = longest_context(index(0), core) + 1 - group.pass_
    clock, free, phase, context, usable = run.clock, run.free, index(group.phase), group.context + count, run.usable_blocks
    stage_free = flying = flights.stage_free_ns[0]
    if run.asynchronous:
        flying = flights.ring[index(run.newest)].end_ns
    now, end, decided = group.pass_, group.next >> SLOT_BITS, run.last_decision_ns
    used_ns = decode_ns = blocks_ns = np.int64(0)
    peak = run.peak_used_blocks
    last_start, last_end, last_used, last_token = run.last_start_ns, run.last_end_ns, run.last_used, group.last_token_ns
    while now < end and clock < horizon:
        taken = residues[index(0), phase] * growing
        if taken > free:
            break
        free += drops[index(0), phase] - taken
        phase = index(phase + 1)
        if phase == size:
            phase = index(0)
        c = decode_cell(count, context, decodes.knots, decodes.marks, inverse)
        decode = decode_in_cell_ns(context, longest + now, decodes.base_ns[n, c], decodes.slope_ns[n, c], spread, inverse)
        blocks = blocks_time_ns(run.overlap, linear, np.int64(0), decode, stages.half_before_ns[n], stages.half_after_ns[n],
                                run.layers)
        decode_ns += decode
        blocks_ns += blocks
        decided = clock
        clock += host
        start = max(clock, stage_free)
        stage_free = start + blocks + fixed
        used_ns += last_used * (min(start, last_end) - last_start)
        last_start, last_end, last_used = start, stage_free, usable - free
        peak = max(peak, last_used)
        if run.gaps:
            served.gaps[index(gap_bin(stage_free - last_token))] += count
            last_token = stage_free
        clock = max(clock, flying) if run.asynchronous else stage_free
        flying = stage_free
        context += count
        now += 1
    run.used_block_ns += used_ns
    run.peak_used_blocks = peak
    run.decode_ns += decode_ns
    run.blocks_ns += blocks_ns
    run.last_start_ns, run.last_end_ns, run.last_used, run.last_decision_ns = last_start, last_end, last_used, decided
    run.clock, run.free, group.pass_, group.phase = clock, free, now, phase


callable_from_compiled(__name__)
