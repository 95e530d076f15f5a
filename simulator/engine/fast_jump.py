"""Steady decode in one go, with asynchronous scheduling: steps in which nobody arrives, finishes, joins or lacks a block.

In such a run of steps only the contexts grow, by one token per decode and step. The steps are priced one by one, by
the same look-up and rounding as ever, but in a loop without branches (compiled to vector instructions).
"""

from __future__ import annotations

from simulator.engine.fast_arrays import (
    BLOCKS_NS,
    DECODE_CONTEXT,
    DECODE_NS,
    DECODE_SEQUENCES,
    MAKESPAN_NS,
    PEAK_USED_BLOCKS,
    STEPS,
    USED_BLOCK_NS,
    WAITING_NS,
)
from simulator.engine.fast_gaps import count_each
from simulator.engine.fast_plain_state import (
    CLEAR,
    CLOCK,
    CONTEXT,
    COUNT,
    COUNTING,
    COUNTS,
    DELIVERED,
    END_NS,
    FREE,
    GROUP_OF,
    JOINED,
    LAST_BATCH,
    LAST_DECISION_NS,
    LAST_END_NS,
    LAST_START_NS,
    LAST_TOKEN_NS,
    LAST_USED,
    LAST_WAITING,
    LAUNCHED,
    MOST_STEPS,
    PASS,
    PASS_OF,
    PHASE,
    SPAN_SHIFT,
    longest_context,
)
from simulator.pricing.lookup import blocks_time_ns, decode_cell, decode_in_cell_ns
from simulator.pricing.step import SERIAL

DECODE, MODEL, TAKEN = range(3)  # rows of `scratch`
NEVER = 1 << 62
WORTHWHILE = 2  # steps: one alone is as cheap in the ordinary way


def jump(waiting, requests, limits, plain, tables, outcome):
    """Makes steps while nothing happens. To be called when there is one stage with one batch in flight, no prompt is partly
    computed, and nobody can be admitted before a finish or an arrival."""
    state = plain.state
    at = state[JOINED]
    horizon = requests.arrival_ns[at] if at < len(requests.arrival_ns) else NEVER
    while state[CLOCK] < horizon:
        steps = MOST_STEPS
        if horizon != NEVER:  # steps get longer, hardly ever shorter: more would be priced in vain
            step_ns = max(state[LAST_END_NS] - state[LAST_START_NS], 1)
            steps = min(steps, (horizon - state[CLOCK]) // step_ns + 1)
        if steps < WORTHWHILE:
            return
        steps = _steps_without_finish(plain, steps)
        if steps < WORTHWHILE:
            return
        steps = _steps_with_blocks(steps, limits, plain)
        if steps == 0:
            return
        steps = _price(steps, plain, tables)
        if _make(steps, horizon, waiting, limits, plain, tables, outcome) < steps:
            return


def _steps_without_finish(plain, most):
    """How many of the next `most` passes no decode finishes in."""
    wheel, first = plain.wheel, plain.groups[0, PASS]
    mask, span = wheel.shape[1] - 1, (1 << SPAN_SHIFT) - 1
    clear = max(plain.state[CLEAR], first)
    while clear < first + most and wheel[0, clear & mask] < 0:
        clear += 1
        while clear < first + most and clear & span == 0 and plain.busy[(clear & mask) >> SPAN_SHIFT] == 0:
            clear += span + 1
    plain.state[CLEAR] = clear
    return min(clear - first, most)


def _steps_with_blocks(steps, limits, plain):
    """How many of `steps` passes the free blocks suffice for; writes the blocks taken up to each of them."""
    taken, phase, total, period = plain.scratch[TAKEN], plain.groups[0, PHASE], 0, limits.block_size
    for j in range(min(steps, period)):
        total += plain.residues[0, (phase + j) & (period - 1)]
        taken[j] = total
    later = taken[period:]
    for j in range(steps - period):
        later[j] = taken[j] + total
    while steps > 0 and taken[steps - 1] > plain.state[FREE]:
        steps -= 1
    return steps


def _price(steps, plain, tables):
    """Time of decode attention and of all decoder blocks in up to `steps` steps, as many as stay in one cell of the
    table. Returns how many."""
    count = plain.groups[0, COUNT]
    first = plain.groups[0, CONTEXT] + count
    knots = tables.context_knots
    inverse = tables.inverse[count]
    c = decode_cell(count, first, knots, tables.context_index, inverse)
    while decode_cell(count, first + count * (steps - 1), knots, tables.context_index, inverse) != c:
        steps -= 1
    base, slope = tables.decode_base_ns[count, c], tables.decode_slope_ns[count, c]
    spread, linear = tables.decode_spread_ns[count], tables.linear_ns[count]
    longest = longest_context(plain, 0) + 1 if spread != 0.0 else 0
    decode, model = plain.scratch[DECODE], plain.scratch[MODEL]
    if tables.overlap == SERIAL:  # as blocks_time_ns, which would keep this loop from becoming vector instructions
        for j in range(steps):
            decode[j] = decode_in_cell_ns(first + count * j, longest + j, base, slope, spread, inverse)
            model[j] = linear + decode[j]
        return steps
    before, after = tables.half_before_ns[count], tables.half_after_ns[count]
    for j in range(steps):
        decode[j] = decode_in_cell_ns(first + count * j, longest + j, base, slope, spread, inverse)
        model[j] = blocks_time_ns(tables.overlap, linear, 0, decode[j], before, after, tables.stage_layers[0])
    return steps


def _make(steps, horizon, waiting, limits, plain, tables, outcome):
    """Makes the priced steps, but none that is decided after the next arrival. Returns how many.

    A step starts when its predecessor ends and was decided when the one before that ended, as long as the device is
    slower than the host; otherwise nothing is done here.
    """
    state, model = plain.state, plain.scratch[MODEL]
    count = plain.groups[0, COUNT]
    fixed = tables.stage_tokens_ns[0, count] + tables.stage_sequences_ns[0, count]  # of a step, beside the blocks
    host, clock, start = tables.host_ns[count], state[CLOCK], plain.stage_free_ns[0]
    if clock + host > start or _least(model, steps) + fixed < host:
        return 0
    end = start + _sum(model, steps) + steps * fixed
    while True:
        before = end - model[steps - 1] - fixed  # end of the step before the last one
        decided = before - model[steps - 2] - fixed if steps > 1 else clock
        if steps == 1 or decided < horizon:
            break
        end = before
        steps -= 1
    _count_time(steps, start, end, fixed, clock, decided, waiting, limits, plain, outcome)
    _count_tokens(steps, count, plain, outcome)
    if len(outcome.gap_counts) > 0:
        count_each(steps, count, fixed, model, outcome.gap_counts)
    _move_on(steps, end, limits, plain)
    state[CLOCK] = before
    return steps


def _count_time(steps, start, end, fixed, clock, decided, waiting, limits, plain, outcome):
    """Totals that are sums of times."""
    state, totals, scratch = plain.state, outcome.totals, plain.scratch
    totals[WAITING_NS] += state[LAST_WAITING] * (clock - state[LAST_DECISION_NS]) + waiting * (decided - clock)
    state[LAST_DECISION_NS], state[LAST_WAITING] = decided, waiting
    totals[USED_BLOCK_NS] += state[LAST_USED] * (min(start, state[LAST_END_NS]) - state[LAST_START_NS])
    used, time, decode_time, used_time = limits.usable_blocks - state[FREE], 0, 0, 0
    decode, model, taken = scratch[DECODE], scratch[MODEL], scratch[TAKEN]
    for j in range(steps):
        decode_time += decode[j]
        time += model[j]
        used_time += taken[j] * (model[j] + fixed)
    last, last_used = model[steps - 1] + fixed, used + taken[steps - 1]
    totals[USED_BLOCK_NS] += used * (time + steps * fixed) + used_time - last_used * last  # the last one counts later
    state[LAST_START_NS], state[LAST_END_NS], state[LAST_USED] = end - last, end, last_used
    totals[PEAK_USED_BLOCKS] = max(totals[PEAK_USED_BLOCKS], last_used)
    totals[MAKESPAN_NS] = max(totals[MAKESPAN_NS], end)
    totals[BLOCKS_NS] += time
    totals[DECODE_NS] += decode_time


def _count_tokens(steps, count, plain, outcome):
    """Totals that are sums of counts."""
    totals = outcome.totals
    outcome.steps_by_tokens[count] += steps
    outcome.steps_by_sequences[count] += steps
    totals[STEPS] += steps
    totals[DECODE_SEQUENCES] += steps * count
    first = plain.groups[0, CONTEXT] + count
    totals[DECODE_CONTEXT] += steps * first + count * (steps * (steps - 1) // 2)


def _move_on(steps, end, limits, plain):
    """The scheduler's state after the steps."""
    state, group = plain.state, plain.groups[0]
    state[FREE] -= plain.scratch[TAKEN, steps - 1]
    group[PASS] += steps
    group[PHASE] = (group[PHASE] + steps) & (limits.block_size - 1)
    group[CONTEXT] += steps * group[COUNT]
    state[LAUNCHED] += steps
    state[DELIVERED] += steps
    group[LAST_BATCH] = state[LAUNCHED]
    group[LAST_TOKEN_NS] = end
    plain.stage_free_ns[0] = end
    newest = plain.ring[(state[LAUNCHED] - 1) & (len(plain.ring) - 1)]
    newest[END_NS], newest[GROUP_OF], newest[PASS_OF], newest[COUNTS] = end, 0, group[PASS] - 1, 1
    state[COUNTING] = limits.depth - 1


def _sum(values, count):
    total = 0
    for j in range(count):
        total += values[j]
    return total


def _least(values, count):
    least = values[0]
    for j in range(count):
        least = min(least, values[j])
    return least
