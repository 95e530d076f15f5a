"""The plain engine for the commonest case: synchronous, one stage. The same as `fast_plain`, with its counters held in
local variables (registers) instead of arrays.

Mere decode steps run in a loop of their own, a few one by one and longer runs in windows (`fast_window`). A shortage of
blocks, which is rare, is handled by `fast_plain`'s functions: the counters are stored for them and loaded again.
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
    LIMITS,
    MAKESPAN_NS,
    MORE,
    OUTCOME,
    PEAK_USED_BLOCKS,
    PREEMPTS,
    PREFILL_CHUNKS,
    PREFILL_CONTEXT,
    PREFILL_NS,
    PREFILL_PAIRS,
    PREFILL_TOKENS,
    REQUESTS,
    STEPS,
    USED_BLOCK_NS,
    WAITING_NS,
)
from simulator.engine.fast_channels import add_single, advance, busiest_ns, busiest_with_singles_ns, count_again, settle
from simulator.engine.fast_costs import TABLES, batch_beside_ns, chunk_ns
from simulator.engine.fast_gaps import count_gaps, count_run
from simulator.engine.fast_plain_state import (
    BLOCKED,
    CLOCK,
    COMPUTED,
    CONTEXT,
    CONTEXTS,
    COUNT,
    DECODES,
    DELIVERED,
    DONE,
    FREE,
    FREE_SLOTS,
    HEAD,
    JOINED,
    KEY,
    KNOWN,
    LAST_DECISION_NS,
    LAST_TOKEN_NS,
    LAST_WAITING,
    LATER,
    LAUNCHED,
    LONGEST,
    PARTIAL,
    PASS,
    PHASE,
    PLAIN,
    PROMPTS,
    REQUEST,
    RUNNING,
    SPAN_SHIFT,
    STACK,
    TOTAL,
    UNKNOWN,
    WHO,
    blocks_for,
    link,
    longest_context,
)
from simulator.engine.fast_pool import POOL
from simulator.engine.fast_prefix import hits_of, publish_recurring, release_blocks, share_hits, take_blocks
from simulator.engine.fast_running import append, drop, in_order
from simulator.engine.fast_shortage import serve_short_of_blocks
from simulator.engine.fast_window import blocks_ahead, clear_ahead, priced_ahead
from simulator.pricing.lookup import blocks_time_ns, decode_cell, decode_in_cell_ns, decode_on_line_ns, in_decode_cell
from simulator.pricing.step import SERIAL

NEVER = 1 << 62
FEW = 8  # steps of a run that are made one by one before it is tried to make a window of them at once
# Constants when the engine is compiled; `fast_variants` has the same code with others.
CACHING = False  # prefix caching, see `fast_prefix`
CHANNELS = False  # requests lie on PIM channels, see `fast_channels`
CLOSED = False  # a closed loop: a request comes when one before it is finished
STREAMED = False  # the trace comes in pieces, see `stream`


def _store(plain, clock, free, running, joined, head, partial, known, computed, count, context, now, phase):
    """The counters, for the functions that work on arrays."""
    state, group = plain.state, plain.groups[0]
    state[CLOCK], state[FREE], state[RUNNING], state[FREE_SLOTS] = clock, free, running, len(plain.free_slots) - running
    state[JOINED], state[HEAD] = joined, head
    state[PARTIAL], state[KNOWN], state[COMPUTED] = partial, known, computed
    group[COUNT], group[CONTEXT], group[PASS], group[PHASE], group[LAST_TOKEN_NS] = count, context, now, phase, clock


def _decode_ns(batch, context, count, longest, longest_chunk, cell, tables, plain):
    beside = longest_chunk > 0 and len(tables.beside_knots) > 0
    spread = tables.beside_spread_ns[batch] if beside else tables.decode_spread_ns[batch]
    if spread != 0.0 and count > 0:
        longest = max(longest, longest_context(plain, 0) + 1)
    if beside:
        return batch_beside_ns(tables, batch, context, longest, longest_chunk)
    base, slope = tables.decode_base_ns[batch, cell], tables.decode_slope_ns[batch, cell]
    if spread == 0.0:
        return decode_on_line_ns(context, base, slope)
    return decode_in_cell_ns(context, longest, base, slope, spread, tables.inverse[batch])


def _decode_blocks_ns(linear, decode, count, tables):
    """All decoder blocks of a step with nothing but `count` decodes."""
    return blocks_time_ns(tables.overlap, linear, 0, decode, tables.half_before_ns[count], tables.half_after_ns[count],
                          tables.stage_layers[0])


def simulate(requests, limits, tables, plain, pool, outcome):
    """Serves the trace. Returns whether every request was finished. STREAMED: goes on from the state that `plain` holds,
    and returns MORE when the next pass may depend on requests that are still to come; then `plain` holds the state."""
    arrival, state, totals, group = requests.arrival_ns, plain.state, outcome.totals, plain.groups[0]
    seqs, budget_of_step = limits.max_num_seqs, limits.token_budget
    given = len(arrival)  # requests that come, or have a client that asks
    if CLOSED:
        given = min(given, limits.clients)
    mask, phases = plain.wheel.shape[1] - 1, limits.block_size - 1
    zero = np.int64(0)  # a literal 0 has a type of its own, for which all functions would be compiled once more
    clock = running = joined = head = known = computed = count = context = now = phase = zero
    free, partial, blocked = limits.usable_blocks, np.int64(-1), False
    last_waiting = last_decision = peak = steps = cell = zero
    if STREAMED:
        clock, free, running, joined, head = state[CLOCK], state[FREE], state[RUNNING], state[JOINED], state[HEAD]
        partial, known, computed, blocked = state[PARTIAL], state[KNOWN], state[COMPUTED], state[BLOCKED] != 0
        count, context, now, phase = group[COUNT], group[CONTEXT], group[PASS], group[PHASE]
        last_waiting, last_decision = state[LAST_WAITING], state[LAST_DECISION_NS]
    wheel, residues, knots, overlap = plain.wheel[0], plain.residues[0], tables.context_knots, tables.overlap
    usable, taken_by = limits.usable_blocks, plain.ahead
    window = len(taken_by)
    counts_gaps = len(outcome.gap_counts) > 0
    decode_total = decode_sequences = decode_context = blocks_total = prefill_total = used_time = waiting_time = zero
    while True:
        while joined < given and arrival[joined] <= clock:
            joined += 1
        waiting = state[STACK] + joined - head
        if STREAMED and joined == given and limits.more:
            break
        if running + waiting == 0:
            if joined == given:
                break
            clock = arrival[joined]
            continue
        # nobody can be admitted before a finish, an arrival or a shortage of blocks: mere decode steps
        if partial < 0 and count > 0 and (waiting == 0 or blocked or running == seqs):
            horizon = arrival[joined] if joined < given else NEVER
            began, first, free_before, step_start = clock, now, free, clock
            total_context, inverse, spread = context + count, tables.inverse[count], tables.decode_spread_ns[count]
            host, linear = tables.host_ns[count], tables.linear_ns[count]
            fixed = linear + tables.stage_tokens_ns[0, count] + tables.stage_sequences_ns[0, count]
            special = CHANNELS or spread != 0.0 or overlap != SERIAL
            longest = zero  # context, less the pass
            if not CHANNELS and spread != 0.0:
                group[COUNT], group[PASS] = count, now
                longest = longest_context(plain, 0) + 1 - now
            base = slope = 0.0
            above = -1.0  # the sum of contexts at which the present cell of the table ends
            lag = phase - now
            while True:
                until = now + FEW
                while now < until and wheel[now & mask] < 0:
                    taken = np.int64(residues[(now + lag) & phases])
                    if taken > free:
                        break
                    if not CHANNELS and total_context >= above:
                        cell = decode_cell(count, total_context, knots, tables.context_index, inverse)
                        base, slope = tables.decode_base_ns[count, cell], tables.decode_slope_ns[count, cell]
                        above = knots[cell + 1] * count if cell < len(knots) - 2 else np.inf
                    free -= taken
                    if special:
                        if CHANNELS:
                            advance(plain.channels)
                            decode = busiest_ns(plain.channels, tables)
                        else:
                            decode = decode_in_cell_ns(total_context, longest + now, base, slope, spread, inverse)
                        blocks = _decode_blocks_ns(linear, decode, count, tables)
                        decode_total += decode
                        blocks_total += blocks
                        duration = fixed - linear + blocks
                        if counts_gaps:
                            count_gaps(host + duration, count, outcome.gap_counts)
                    else:
                        duration = fixed + decode_on_line_ns(total_context, base, slope)
                    used_time += (usable - free) * duration
                    step_start = clock
                    clock += host + duration
                    total_context += count
                    now += 1
                    if clock >= horizon:
                        break
                if now < until or clock >= horizon:
                    break
                while (
                    not special
                    and clock + window * (host + fixed + decode_on_line_ns(total_context, base, slope)) < horizon
                    and total_context + window * count < above
                    and clear_ahead(wheel, now & mask, window)
                ):
                    blocks_taken = blocks_ahead(taken_by, residues, (now + lag) & phases, phases)
                    if blocks_taken > free:
                        break
                    decodes, weighted = priced_ahead(total_context, count, base, slope, fixed, taken_by)
                    after = clock + window * (host + fixed) + decodes
                    if after >= horizon:
                        break
                    used_time += (usable - free) * (window * fixed + decodes) + weighted
                    free -= blocks_taken
                    total_context += window * count
                    step_start = after - host - fixed - decode_on_line_ns(total_context - count, base, slope)
                    clock = after
                    now += window
            made = now - first
            if made > 0:
                if counts_gaps and not special:
                    bases, slopes = tables.decode_base_ns[count], tables.decode_slope_ns[count]
                    count_run(made, count, context + count, host + fixed, knots, bases, slopes, outcome.gap_counts)
                waiting_time += last_waiting * (began - last_decision) + waiting * (step_start - began)
                last_decision, last_waiting = step_start, waiting
                peak = max(peak, usable - free)
                outcome.steps_by_tokens[count] += made
                outcome.steps_by_sequences[count] += made
                steps += made
                decode_sequences += made * count
                decode_context += made * (context + count) + count * (made * (made - 1) // 2)
                if not special:
                    attention = clock - began - made * (host + fixed)
                    decode_total += attention
                    blocks_total += made * linear + attention
                context += made * count
                phase = (now + lag) & phases
                group[PASS] = now
                if CACHING:
                    take_blocks(pool, free_before - free)
                if clock >= horizon:
                    continue

        # running requests
        budget, newcomers, ones, ones_context, ones_longest, chunks_ns = budget_of_step - count, zero, zero, zero, zero, zero
        demand, chunk, preempted, longest_chunk = np.int64(residues[phase]), zero, False, zero
        if partial >= 0:
            chunk = min(known - computed, budget)
            demand += blocks_for(computed + chunk, limits) - blocks_for(computed, limits)
        if demand <= free:
            free -= demand
            if CACHING:
                take_blocks(pool, demand)
        elif CACHING:
            return PREEMPTS
        else:
            _store(plain, clock, free, running, joined, head, partial, known, computed, count, context, now, phase)
            state[DELIVERED] = state[LAUNCHED]
            serve_short_of_blocks(requests, limits, plain, outcome)
            if CHANNELS:
                count_again(plain)
            free, running, partial, count, context = state[FREE], state[RUNNING], np.int64(-1), group[COUNT], group[CONTEXT]
            budget, chunk, preempted, blocked = budget_of_step - count, 0, True, False
        if chunk > 0:
            if chunk == 1:
                ones, ones_context, ones_longest = 1, computed + 1, computed + 1
                if CHANNELS:
                    add_single(plain.channels, plain.channel_of[partial], computed + 1)
            else:
                chunks_ns = _chunk(chunk, computed, tables, totals)
                longest_chunk = chunk
            computed += chunk
            budget -= chunk
            if CACHING:
                blocked = False  # the head of the queue may hit what is published now
                publish_recurring(pool, partial, requests, plain.slots[partial, REQUEST], computed >> limits.block_shift)
            plain.newcomers[0] = partial
            newcomers = 1

        # waiting requests
        while not preempted and budget > 0 and running < seqs:
            stack = state[STACK]
            if stack > 0:
                r, done = plain.stack[stack - 1, WHO], plain.stack[stack - 1, DONE]
            elif head < joined:
                r, done = head, zero
            else:
                break
            want = requests.prompt[r] + done
            found = idle = cached = zero
            if CACHING:
                found, idle = hits_of(pool, requests, r, (want - 1) >> limits.block_shift)
                cached = found << limits.block_shift
            chunk = min(want - cached, budget)
            margin = limits.margin_blocks if running > 0 else 0
            need = blocks_for(cached + chunk, limits) - found + idle
            hold = blocks_for(want, limits) - found + idle if limits.full_sequence_gate else need
            if hold + margin > free:
                blocked = True
                break
            if stack > 0:
                state[STACK] = stack - 1
            else:
                head += 1
            running += 1
            slot = np.int64(plain.free_slots[seqs - running])
            append(slot, r, plain)
            plain.slots[slot, TOTAL] = want
            plain.newcomers[newcomers] = slot
            newcomers += 1
            blocked = False
            if CACHING:
                outcome.cached_tokens[r] = cached
                share_hits(pool, slot, found)
                take_blocks(pool, need - idle)
                publish_recurring(pool, slot, requests, r, (cached + chunk) >> limits.block_shift)
            if CHANNELS:
                settle(slot, want, plain)
            if chunk == 1:
                ones, ones_context, ones_longest = ones + 1, ones_context + cached + 1, max(ones_longest, cached + 1)
                if CHANNELS:
                    add_single(plain.channels, plain.channel_of[slot], cached + 1)
            else:
                chunks_ns += _chunk(chunk, cached, tables, totals)
                longest_chunk = max(longest_chunk, chunk)
            known, computed = want, cached + chunk
            free -= need
            budget -= chunk

        # the step
        tokens, sequences = budget_of_step - budget, count + newcomers
        waiting_time += last_waiting * (clock - last_decision)
        last_decision, last_waiting = clock, state[STACK] + joined - head
        used = limits.usable_blocks - free
        peak = max(peak, used)
        outcome.steps_by_tokens[tokens] += 1
        outcome.steps_by_sequences[sequences] += 1
        steps += 1
        if sequences == 0:
            continue
        decode, batch = zero, count + ones
        if batch > 0:
            group[COUNT], group[PASS] = count, now
            total_context = context + count + ones_context
            if CHANNELS:
                decode = busiest_with_singles_ns(plain.channels, tables)
            else:
                if not in_decode_cell(cell, batch, total_context, knots):
                    cell = decode_cell(batch, total_context, knots, tables.context_index, tables.inverse[batch])
                decode = _decode_ns(batch, total_context, count, ones_longest, longest_chunk, cell, tables, plain)
            decode_total += decode
            decode_sequences += batch
            decode_context += total_context
        prefill_total += chunks_ns
        blocks = blocks_time_ns(
            tables.overlap,
            tables.linear_ns[tokens],
            chunks_ns,
            decode,
            tables.half_before_ns[tokens],
            tables.half_after_ns[tokens],
            tables.stage_layers[0],
        )
        blocks_total += blocks
        duration = blocks + tables.stage_tokens_ns[0, tokens] + tables.stage_sequences_ns[0, sequences]
        start = clock + tables.host_ns[sequences]
        if counts_gaps and count > 0:  # every decode got a token when this step was decided, and gets one at its end
            count_gaps(tables.host_ns[sequences] + duration, count, outcome.gap_counts)
        clock = start + duration
        used_time += used * duration

        # its end: decodes that have all their tokens leave, complete prompts begin to decode
        slot = np.int64(plain.wheel[0, now & mask])
        if slot >= 0:
            blocked = False
            plain.wheel[0, now & mask] = -1
            if CACHING:
                slot = in_order(slot, plain)
        context += count
        if CHANNELS:
            advance(plain.channels)
        now += 1
        phase = (phase + 1) & phases
        group[PASS] = now
        while slot >= 0:
            row = plain.slots[slot]
            outcome.finish_ns[row[REQUEST]] = clock
            if CLOSED:
                given = min(given + 1, len(arrival))
            if CHANNELS:
                plain.channels[CONTEXTS, plain.channel_of[slot]] -= row[TOTAL]
                plain.channels[DECODES, plain.channel_of[slot]] -= 1
            context -= row[TOTAL]
            count -= 1
            if CACHING:
                free += release_blocks(pool, slot, row[TOTAL], limits.block_shift)
            else:
                free += blocks_for(row[TOTAL], limits)
            residues[row[KEY]] -= 1
            if row[TOTAL] - now == group[LONGEST]:
                group[LONGEST] = UNKNOWN
            plain.busy[(now - 1 & mask) >> SPAN_SHIFT] -= 1
            drop(slot, plain)
            plain.free_slots[seqs - running] = slot
            running -= 1
            slot = row[LATER]
        partial = np.int64(-1)
        for k in range(newcomers):
            slot = np.int64(plain.newcomers[k])
            row = plain.slots[slot]
            r = row[REQUEST]
            if outcome.first_scheduled_ns[r] < 0:
                outcome.first_scheduled_ns[r] = start
            if k == newcomers - 1 and computed < known:
                partial = slot
                break
            want, prompt, output = row[TOTAL], np.int64(requests.prompt[r]), np.int64(requests.output[r])
            done = want - prompt + 1
            if done == 1:
                outcome.first_token_ns[r] = clock
            elif counts_gaps:  # resumed
                count_gaps(clock - outcome.last_token_ns[r], 1, outcome.gap_counts)
            if CHANNELS:
                plain.channels[PROMPTS, plain.channel_of[slot]] -= want
            if done == output:
                outcome.finish_ns[r] = clock
                if CLOSED:
                    given = min(given + 1, len(arrival))
                if CACHING:
                    free += release_blocks(pool, slot, want, limits.block_shift)
                else:
                    free += blocks_for(want, limits)
                blocked = False
                drop(slot, plain)
                plain.free_slots[seqs - running] = slot
                running -= 1
                continue
            row[TOTAL] = prompt + output - 1
            link(plain, slot, 0, now - 1 + output - done)
            key = (phase - want) & phases
            row[KEY] = key
            residues[key] += 1
            if count == 0:
                group[LONGEST] = want - now
            elif group[LONGEST] != UNKNOWN:
                group[LONGEST] = max(group[LONGEST], want - now)
            count += 1
            context += want
            if CHANNELS:
                plain.channels[DECODES, plain.channel_of[slot]] += 1
                plain.channels[CONTEXTS, plain.channel_of[slot]] += want
    if STREAMED:
        _store(plain, clock, free, running, joined, head, partial, known, computed, count, context, now, phase)
        state[BLOCKED], state[LAST_WAITING], state[LAST_DECISION_NS] = np.int64(blocked), last_waiting, last_decision
    totals[WAITING_NS] += waiting_time
    totals[USED_BLOCK_NS] += used_time
    totals[PEAK_USED_BLOCKS] = max(totals[PEAK_USED_BLOCKS], peak)
    totals[MAKESPAN_NS] = max(totals[MAKESPAN_NS], clock)
    totals[STEPS] += steps
    totals[DECODE_NS] += decode_total
    totals[DECODE_SEQUENCES] += decode_sequences
    totals[DECODE_CONTEXT] += decode_context
    totals[BLOCKS_NS] += blocks_total
    totals[PREFILL_NS] += prefill_total
    return MORE if STREAMED and limits.more else DONE_ALL


def _chunk(chunk, before, tables, totals):
    """Time of a prompt's next `chunk` > 1 tokens, counted in the totals."""
    totals[PREFILL_CHUNKS] += 1
    totals[PREFILL_TOKENS] += chunk
    totals[PREFILL_CONTEXT] += before
    totals[PREFILL_PAIRS] += chunk * before + chunk * (chunk + 1) // 2
    return chunk_ns(tables, chunk, before)


SIGNATURE = types.int64(REQUESTS, LIMITS, TABLES, PLAIN, POOL, OUTCOME)
