"""The general compiled engine: the reference engine's loop over the running requests, on arrays.

Everything vLLM's scheduler can be set to runs here; configurations plain enough for `fast_plain` run there, in O(1) a
step. `reference.run` explains the loop, `step_time` the price of a step, `record` the totals.
"""

from __future__ import annotations

import numpy as np
from numba import types

from simulator.engine.fast_arrays import (
    BLOCKS_NS,
    DECODE_CONTEXT,
    DECODE_NS,
    DECODE_SEQUENCES,
    DONE_ALL,
    ENTRIES,
    LIMITS,
    LIVELOCK,
    LOG,
    MAKESPAN_NS,
    MORE,
    OUTCOME,
    PEAK_USED_BLOCKS,
    PREEMPTIONS,
    PREFILL_CHUNKS,
    PREFILL_CONTEXT,
    PREFILL_NS,
    PREFILL_PAIRS,
    PREFILL_TOKENS,
    REQUESTS,
    STEPS,
    STUCK,
    USED_BLOCK_NS,
    WAITING_NS,
)
from simulator.engine.fast_costs import TABLES, batch_beside_ns, batch_ns, chunk_ns
from simulator.engine.fast_pool import POOL, publish, release
from simulator.engine.fast_queues import (
    CLOCK,
    COUNTING,
    FINISHED,
    FLYING,
    FREE,
    HEAD,
    IDLE_PREEMPTIONS,
    JOINED,
    LAST_DECISION_NS,
    LAST_END_NS,
    LAST_START_NS,
    LAST_USED,
    LAST_WAITING,
    OLDEST,
    QUEUES,
    RUNNING,
    SWAPPED_BLOCKS,
    leave_waiting,
    push,
    waiting_count,
)
from simulator.engine.fast_schedule import blocks_for, schedule
from simulator.engine.gap_histogram import gap_bin
from simulator.pricing.lookup import blocks_time_ns, channel_time_ns, stage_time_ns


def _attention(b, queues, tables, outcome):
    """Decode and prefill attention of the batch, its tokens; adds to their totals."""
    totals = outcome.totals
    decodes = context_sum = longest = prefill = tokens = longest_chunk = 0
    load = queues.channel_load
    load[:] = 0
    for k in range(queues.batch_size[b]):
        r, new = queues.batch_request[b, k], queues.batch_new[b, k]
        after = np.int64(queues.computed[r])
        tokens += new
        if new == 1:
            decodes += 1
            context_sum += after
            longest = max(longest, after)
            if tables.channels > 0:
                load[0, queues.channel[r]] += 1
                load[1, queues.channel[r]] += after
        else:
            chunk, before = np.int64(new), after - new
            longest_chunk = max(longest_chunk, chunk)
            prefill += chunk_ns(tables, chunk, before)
            totals[PREFILL_CHUNKS] += 1
            totals[PREFILL_TOKENS] += chunk
            totals[PREFILL_CONTEXT] += before
            totals[PREFILL_PAIRS] += chunk * before + chunk * (chunk + 1) // 2
    decode = 0
    if decodes > 0 and tables.channels > 0:
        decode = channel_time_ns(load[0], load[1], tables.channel_request_ns, tables.channel_token_ns)
    elif decodes > 0 and longest_chunk > 0 and len(tables.beside_knots) > 0:
        decode = batch_beside_ns(tables, decodes, context_sum, longest, longest_chunk)
    elif decodes > 0:
        decode = batch_ns(tables, decodes, context_sum, longest)
    totals[DECODE_SEQUENCES] += decodes
    totals[DECODE_CONTEXT] += context_sum
    totals[DECODE_NS] += decode
    totals[PREFILL_NS] += prefill
    return decode, prefill, tokens


def _launch(b, limits, queues, tables, outcome):
    """Prices the batch, lets it pass the host and the stages. Returns its tokens and its start."""
    state, stage_free = queues.state, queues.stage_free_ns
    decode, prefill, tokens = _attention(b, queues, tables, outcome)
    size = queues.batch_size[b]
    layers = tables.stage_layers.sum()
    blocks = blocks_time_ns(
        tables.overlap,
        tables.linear_ns[tokens],
        prefill,
        decode,
        tables.half_before_ns[tokens],
        tables.half_after_ns[tokens],
        layers,
    )
    blocks += state[SWAPPED_BLOCKS] * tables.swap_block_ns
    state[SWAPPED_BLOCKS] = 0
    outcome.totals[BLOCKS_NS] += blocks
    state[CLOCK] += tables.host_ns[size]
    start = end = max(state[CLOCK], stage_free[0])
    for s in range(len(stage_free)):
        duration = stage_time_ns(
            blocks,
            tables.stage_layers[s],
            layers,
            tables.stage_tokens_ns[s, tokens],
            tables.stage_sequences_ns[s, size],
        )
        end = max(end, stage_free[s]) + duration
        stage_free[s] = end
    queues.batch_end_ns[b] = end
    return tokens, start


def _commit(b, start, requests, limits, queues, outcome):
    """Rule 19: who has caught up yields a token when the batch ends."""
    for k in range(queues.batch_size[b]):
        r = queues.batch_request[b, k]
        known = requests.prompt[r] + queues.delivered[r]
        yields = queues.computed[r] == known + queues.pending[r]
        queues.batch_yields[b, k] = yields
        queues.in_flight[r] += 1
        if yields and limits.asynchronous:
            queues.pending[r] += 1
        if outcome.first_scheduled_ns[r] < 0:
            outcome.first_scheduled_ns[r] = start


def _record(b, decided, start, tokens, limits, queues, outcome, log):
    """Totals and the log's row of a decision that scheduled a token or preempted somebody."""
    state, totals = queues.state, outcome.totals
    size, end = queues.batch_size[b], queues.batch_end_ns[b]
    used = limits.usable_blocks - state[FREE]
    totals[WAITING_NS] += state[LAST_WAITING] * (decided - state[LAST_DECISION_NS])
    state[LAST_DECISION_NS], state[LAST_WAITING] = decided, waiting_count(queues)
    totals[PEAK_USED_BLOCKS] = max(totals[PEAK_USED_BLOCKS], used)
    outcome.steps_by_tokens[tokens] += 1
    outcome.steps_by_sequences[size] += 1
    totals[MAKESPAN_NS] = max(totals[MAKESPAN_NS], end)
    if size > 0:
        totals[USED_BLOCK_NS] += state[LAST_USED] * (min(start, state[LAST_END_NS]) - state[LAST_START_NS])
        state[LAST_START_NS], state[LAST_END_NS], state[LAST_USED] = start, end, used
    if len(log.n) > 0:
        _log_step(b, decided, start, tokens, queues, totals, log)
    totals[ENTRIES] += size
    totals[STEPS] += 1


def _log_step(b, decided, start, tokens, queues, totals, log):
    step, entry, size = totals[STEPS], totals[ENTRIES], queues.batch_size[b]
    log.scheduled_ns[step], log.start_ns[step], log.end_ns[step] = decided, start, queues.batch_end_ns[b]
    log.n[step], log.tokens[step] = size, tokens
    log.free_blocks[step] = queues.state[FREE]
    log.waiting[step], log.running[step] = waiting_count(queues), queues.state[RUNNING]
    for k in range(size):
        log.batch_request[entry + k] = queues.batch_request[b, k]
        log.batch_new_tokens[entry + k] = queues.batch_new[b, k]


def _deliver(b, requests, limits, queues, pool, outcome):
    """Rule 20: the batch has ended, its tokens are handed out, who has all of them leaves."""
    finished = False
    end = queues.batch_end_ns[b]
    for k in range(queues.batch_size[b]):
        r = queues.batch_request[b, k]
        queues.in_flight[r] -= 1
        if not queues.batch_yields[b, k]:
            continue
        running = queues.slot[r] >= 0
        queues.delivered[r] += 1
        queues.state[IDLE_PREEMPTIONS] = 0
        if running and limits.channels > 0:
            queues.channel_tokens[queues.channel[r]] += 1
        if running and limits.asynchronous:
            queues.pending[r] -= 1
            if limits.caching:
                full = (queues.computed[r] - queues.pending[r]) // limits.block_size
                publish(pool, queues.slot[r], requests, r, full)
        if len(outcome.gap_counts) > 0:
            if queues.delivered[r] > 1:
                outcome.gap_counts[gap_bin(end - outcome.last_token_ns[r])] += 1
            outcome.last_token_ns[r] = end
        if queues.delivered[r] == 1:
            outcome.first_token_ns[r] = end
        if queues.delivered[r] == requests.output[r]:
            outcome.finish_ns[r] = end
            queues.state[FINISHED] += 1
            if running:
                _finish(r, requests, limits, queues, pool)
                finished = True
            else:
                leave_waiting(r, requests, queues, limits)
    if finished:
        _close_ranks(queues)


def _finish(r, requests, limits, queues, pool):
    if limits.caching:
        queues.state[FREE] += release(pool, queues.slot[r])
    else:
        queues.state[FREE] += blocks_for(queues.computed[r], limits)
    if limits.channels > 0:
        queues.channel_tokens[queues.channel[r]] -= requests.prompt[r] + queues.delivered[r]
    queues.slot[r] = -1


def _close_ranks(queues):
    """Takes finished requests out of the running list."""
    kept = 0
    for i in range(queues.state[RUNNING]):
        r = queues.running[i]
        if queues.slot[r] >= 0:
            queues.running[kept] = r
            kept += 1
    queues.state[RUNNING] = kept


def _join(requests, limits, queues):
    """Hands over every request that has arrived and, in a closed loop, has a client that waits for nothing."""
    state = queues.state
    n = min(len(requests.arrival_ns), limits.clients + state[FINISHED])
    while state[JOINED] < n and requests.arrival_ns[state[JOINED]] <= state[CLOCK]:
        if limits.by_priority:
            push(np.int32(state[JOINED]), requests, queues)
            state[HEAD] += 1
        state[JOINED] += 1


def _decide(requests, limits, tables, queues, pool, outcome, log):
    """One pass; its batch, though it be empty, is the newest in flight."""
    state = queues.state
    b = (state[OLDEST] + state[FLYING]) % limits.depth
    decided, before = state[CLOCK], outcome.totals[PREEMPTIONS]
    schedule(b, requests, queues, limits, pool, outcome, log)
    start = max(decided, queues.stage_free_ns[len(queues.stage_free_ns) - 1])
    queues.batch_end_ns[b] = start
    tokens = 0
    counts = queues.batch_size[b] > 0
    if counts:
        tokens, start = _launch(b, limits, queues, tables, outcome)
        _commit(b, start, requests, limits, queues, outcome)
    counts = counts or outcome.totals[PREEMPTIONS] > before
    if counts:
        _record(b, decided, start, tokens, limits, queues, outcome, log)
    queues.batch_counts[b] = counts
    state[COUNTING] += counts
    state[FLYING] += 1


def simulate(requests, limits, tables, queues, pool, outcome, log):
    """Serves the trace, from the state that `queues` and `pool` hold. Returns whether every request was finished, or MORE
    when the next pass may depend on requests that are still to come."""
    state, n = queues.state, len(requests.arrival_ns)
    stop = np.int64(n if limits.more else -1)
    while True:
        _join(requests, limits, queues)
        if state[JOINED] == stop:
            return MORE
        if state[RUNNING] + waiting_count(queues) > 0:
            _decide(requests, limits, tables, queues, pool, outcome, log)
            if state[IDLE_PREEMPTIONS] > limits.most_idle_preemptions:
                return LIVELOCK
            if state[FLYING] < limits.depth:
                continue
        if state[COUNTING] > 0:
            oldest = state[OLDEST]
            state[CLOCK] = max(state[CLOCK], queues.batch_end_ns[oldest])
            _deliver(oldest, requests, limits, queues, pool, outcome)
            state[OLDEST] = (oldest + 1) % limits.depth
            state[FLYING] -= 1
            state[COUNTING] -= queues.batch_counts[oldest]
        elif state[JOINED] < min(n, limits.clients + state[FINISHED]):
            state[FLYING] = 0
            state[CLOCK] = max(state[CLOCK], requests.arrival_ns[state[JOINED]])
        else:
            break
    outcome.totals[USED_BLOCK_NS] += state[LAST_USED] * (state[LAST_END_NS] - state[LAST_START_NS])
    return DONE_ALL if state[RUNNING] + waiting_count(queues) == 0 else STUCK


SIGNATURE = types.int64(REQUESTS, LIMITS, TABLES, QUEUES, POOL, OUTCOME, LOG)
