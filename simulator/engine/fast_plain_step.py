"""A batch of the plain compiled engine: its price, its way through the stages, and what it changes."""

from __future__ import annotations

import numpy as np

from simulator.engine.fast_arrays import (
    BLOCKS_NS,
    DECODE_CONTEXT,
    DECODE_NS,
    DECODE_SEQUENCES,
    MAKESPAN_NS,
    PEAK_USED_BLOCKS,
    PREFILL_NS,
    STEPS,
    USED_BLOCK_NS,
    WAITING_NS,
)
from simulator.engine.fast_costs import batch_beside_ns, batch_ns
from simulator.engine.fast_gaps import count_gaps
from simulator.engine.fast_plain_state import (
    CHUNK_BATCH,
    CHUNKS_NS,
    CLOCK,
    COMPUTED,
    CONTEXT,
    COUNT,
    COUNTING,
    COUNTS,
    CURRENT,
    END_NS,
    FREE,
    GROUP_OF,
    HEAD,
    JOINED,
    KNOWN,
    LAST_BATCH,
    LAST_DECISION_NS,
    LAST_END_NS,
    LAST_START_NS,
    LAST_TOKEN_NS,
    LAST_USED,
    LAST_WAITING,
    LATER,
    LAUNCHED,
    LONGEST_CHUNK,
    NEWCOMERS,
    ONES,
    ONES_CONTEXT,
    ONES_LONGEST,
    PARTIAL,
    PASS,
    PASS_OF,
    PHASE,
    REQUEST,
    STACK,
    TOTAL,
    join_group,
    leave_group,
    link,
    longest_context,
)
from simulator.pricing.lookup import blocks_time_ns, stage_time_ns
from simulator.pricing.step import SERIAL


def waiting_of(state):
    return state[STACK] + state[JOINED] - state[HEAD]


def _price(tokens, sequences, plain, tables, outcome):
    """Time of all decoder blocks for the batch."""
    group, chunks, totals = plain.groups[plain.state[CURRENT]], plain.chunks, outcome.totals
    batch = group[COUNT] + chunks[ONES]
    context = group[CONTEXT] + group[COUNT] + chunks[ONES_CONTEXT]
    decode = 0
    if batch > 0:
        longest = chunks[ONES_LONGEST]
        beside = chunks[LONGEST_CHUNK] > 0 and len(tables.beside_knots) > 0
        spread = tables.beside_spread_ns[batch] if beside else tables.decode_spread_ns[batch]
        if spread != 0.0 and group[COUNT] > 0:
            longest = max(longest, longest_context(plain, plain.state[CURRENT]) + 1)
        if beside:
            decode = batch_beside_ns(tables, batch, context, longest, chunks[LONGEST_CHUNK])
        else:
            decode = batch_ns(tables, batch, context, longest)
        totals[DECODE_SEQUENCES] += batch
        totals[DECODE_CONTEXT] += context
        totals[DECODE_NS] += decode
    totals[PREFILL_NS] += chunks[CHUNKS_NS]
    blocks = blocks_time_ns(
        tables.overlap,
        tables.linear_ns[tokens],
        chunks[CHUNKS_NS],
        decode,
        tables.half_before_ns[tokens],
        tables.half_after_ns[tokens],
        tables.stage_layers.sum() if tables.overlap != SERIAL else 0,
    )
    totals[BLOCKS_NS] += blocks
    return blocks


def _stages(blocks, tokens, sequences, plain, tables):
    """Passes the batch through the host and the stages. Returns its start and its end."""
    state, free = plain.state, plain.stage_free_ns
    state[CLOCK] += tables.host_ns[sequences]
    start = max(state[CLOCK], free[0])
    if len(free) == 1:
        end = start + blocks + tables.stage_tokens_ns[0, tokens] + tables.stage_sequences_ns[0, sequences]
        free[0] = end
        return start, end
    end, layers = start, tables.stage_layers.sum()
    for s in range(len(free)):
        duration = stage_time_ns(
            blocks,
            tables.stage_layers[s],
            layers,
            tables.stage_tokens_ns[s, tokens],
            tables.stage_sequences_ns[s, sequences],
        )
        end = max(end, free[s]) + duration
        free[s] = end
    return start, end


def launch(tokens, decided, requests, limits, plain, tables, outcome):
    """The batch goes to the device: times, totals, and the scheduler's state for the group's next pass."""
    state = plain.state
    g = state[CURRENT]
    group = plain.groups[g]
    sequences = group[COUNT] + state[NEWCOMERS]
    blocks = _price(tokens, sequences, plain, tables, outcome)
    start, end = _stages(blocks, tokens, sequences, plain, tables)
    record(decided, start, end, tokens, sequences, limits, plain, outcome)
    enqueue(end, 1, limits, plain)
    if len(outcome.gap_counts) > 0 and group[COUNT] > 0:  # all of them were part of the group's previous batch
        count_gaps(end - group[LAST_TOKEN_NS], group[COUNT], outcome.gap_counts)
    group[LAST_TOKEN_NS] = end
    _retire(g, end, plain, outcome)
    if state[NEWCOMERS] > 0:
        _settle_newcomers(g, start, end, requests, plain, outcome)


def enqueue(end, counts, limits, plain):
    """The current group's batch, though it be empty, is the newest in flight."""
    state = plain.state
    g = state[CURRENT]
    group = plain.groups[g]
    batch = plain.ring[state[LAUNCHED] & (len(plain.ring) - 1)]
    batch[END_NS], batch[GROUP_OF], batch[PASS_OF], batch[COUNTS] = end, g, group[PASS], counts
    state[LAUNCHED] += 1
    state[COUNTING] += counts
    group[LAST_BATCH] = state[LAUNCHED]
    group[PASS] += 1
    group[PHASE] = (group[PHASE] + 1) & (limits.block_size - 1)
    group[CONTEXT] += group[COUNT]


def record(decided, start, end, tokens, sequences, limits, plain, outcome):
    """Totals of a decision that scheduled a token or preempted somebody."""
    state, totals = plain.state, outcome.totals
    used = limits.usable_blocks - state[FREE]
    totals[WAITING_NS] += state[LAST_WAITING] * (decided - state[LAST_DECISION_NS])
    state[LAST_DECISION_NS], state[LAST_WAITING] = decided, waiting_of(state)
    totals[PEAK_USED_BLOCKS] = max(totals[PEAK_USED_BLOCKS], used)
    totals[MAKESPAN_NS] = max(totals[MAKESPAN_NS], end)
    outcome.steps_by_tokens[tokens] += 1
    outcome.steps_by_sequences[sequences] += 1
    totals[STEPS] += 1
    if sequences > 0:
        totals[USED_BLOCK_NS] += state[LAST_USED] * (min(start, state[LAST_END_NS]) - state[LAST_START_NS])
        state[LAST_START_NS], state[LAST_END_NS], state[LAST_USED] = start, end, used


def first_in(g, last, plain):
    """First slot that finishes in pass `last` of group g, or -1."""
    return np.int64(plain.wheel[g, last & (plain.wheel.shape[1] - 1)])


def _retire(g, end, plain, outcome):
    """Decodes whose last token is in the batch are not part of the next pass. They hold their blocks until the batch
    ends."""
    slot = first_in(g, plain.groups[g, PASS] - 1, plain)
    while slot >= 0:
        outcome.finish_ns[plain.slots[slot, REQUEST]] = end
        leave_group(plain, slot, plain.slots[slot, TOTAL])
        slot = plain.slots[slot, LATER]


def _settle_newcomers(g, start, end, requests, plain, outcome):
    """Requests with a prompt chunk in the batch: all but possibly the last one are complete, get a token and decode
    from the next pass on."""
    state, slots, last_pass = plain.state, plain.slots, plain.groups[g, PASS] - 1
    state[PARTIAL] = -1
    for k in range(state[NEWCOMERS]):
        slot = np.int64(plain.newcomers[k])
        r = slots[slot, REQUEST]
        if outcome.first_scheduled_ns[r] < 0:
            outcome.first_scheduled_ns[r] = start
        known = slots[slot, TOTAL]
        if k == state[NEWCOMERS] - 1 and state[COMPUTED] < state[KNOWN]:
            state[PARTIAL], state[CHUNK_BATCH] = slot, state[LAUNCHED]
            break
        prompt, output = np.int64(requests.prompt[r]), np.int64(requests.output[r])
        done = known - prompt + 1
        if done == 1:
            outcome.first_token_ns[r] = end
        elif len(outcome.gap_counts) > 0:  # resumed
            count_gaps(end - outcome.last_token_ns[r], 1, outcome.gap_counts)
        slots[slot, TOTAL] = prompt + output - 1
        link(plain, slot, g, last_pass + output - done)
        if done == output:
            outcome.finish_ns[r] = end
        else:
            join_group(plain, slot, g, known)
