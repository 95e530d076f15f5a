"""Identities of KV blocks for prefix caching.

The identity of a full block stands for its tokens and all tokens before it: two blocks have the same identity exactly
when both are equal. Contents are interned exactly (compared, not only hashed): no collision can merge two blocks.

Most blocks of a trace are unlike all others: once a sequence holds a token that occurs nowhere else in the trace,
every block from there on is unique. Only the blocks before that point are interned; the rest are numbered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from simulator.inputs.errors import InputError
from simulator.serving.config import OUTPUT_STREAM, Int64, Trace


@dataclass(frozen=True)
class BlockIdentities:
    """Identity of block j of request i (prompt and outputs, without the last output, whose KV is never computed):

        shared[offsets[i] + j]   for j < offsets[i + 1] - offsets[i]
        unique[i] + j            for later blocks: no other request ever has it

    `shared` holds values in [0, 2**62), `unique` never repeats one of them.
    """

    offsets: Int64  # [n + 1]
    shared: Int64
    unique: Int64  # [n]

    def first(self, request: int, count: int) -> list[int]:
        """Identities of the first `count` blocks of a request."""
        begin, end = int(self.offsets[request]), int(self.offsets[request + 1])
        head = self.shared[begin:min(end, begin + count)].tolist()
        start = int(self.unique[request])
        return head + list(range(start + len(head), start + count))


def block_identities(trace: Trace, outputs: Int64, block_size: int) -> BlockIdentities:
    """Identities of all full blocks of every request, given how many `outputs` [n] each will get.

    Raises InputError where segments or token ids do not add up to the prompts.
    """
    prompt = trace.prompt_tokens.astype(np.int64)
    blocks = (prompt + np.maximum(outputs, 1) - 1) // block_size
    if trace.segments is not None and trace.prompt_ids is not None:
        raise InputError("give either segments or prompt_ids", key="prompt_ids")
    if trace.segments is not None:
        shared, counts = _from_segments(trace, prompt, outputs, blocks, block_size)
    elif trace.prompt_ids is not None:
        shared, counts = _from_ids(trace, prompt, block_size)
    else:
        shared, counts = np.zeros(0, np.int64), np.zeros(len(trace), np.int64)
    unique = np.cumsum(blocks) - blocks + (int(shared.max()) + 1 if len(shared) else 0)
    return BlockIdentities(np.concatenate([[0], np.cumsum(counts)]), shared, unique)


def _from_segments(trace: Trace, prompt: Int64, outputs: Int64, blocks: Int64, block_size: int) -> tuple[Int64, Int64]:
    """Interned identities of leading blocks that may recur, and how many each request has."""
    segments = trace.segments
    assert segments is not None
    n = len(trace)
    ends = np.concatenate([[0], np.cumsum(segments.length)])[segments.offsets]
    if len(segments.offsets) != n + 1 or np.any(np.diff(ends) != prompt):
        raise InputError("the segments' lengths must add up to prompt_tokens", key="segments")
    own = np.arange(n, dtype=np.int64)
    # a stream recurs when two pieces of the trace draw from it; every request's outputs are one piece of its own
    streams, uses = np.unique(np.concatenate([segments.stream, OUTPUT_STREAM + own]), return_counts=True)
    recurs = uses > 1
    segment_recurs = recurs[np.searchsorted(streams, segments.stream)]
    outputs_recur = recurs[np.searchsorted(streams, OUTPUT_STREAM + own)]
    shared, counts = _intern_segments(
        segments.offsets, segments.stream, segments.start, segments.length, segment_recurs, outputs_recur,
        np.maximum(outputs, 1), blocks, block_size,
    )
    return shared, counts


def _from_ids(trace: Trace, prompt: Int64, block_size: int) -> tuple[Int64, Int64]:
    """Prompt blocks interned by their tokens; a block with a generated token is unique."""
    ids, offsets = trace.prompt_ids, trace.prompt_id_offsets
    assert ids is not None
    if offsets is None or len(offsets) != len(trace) + 1 or np.any(np.diff(offsets) != prompt):
        raise InputError("must cut prompt_ids into prompts of prompt_tokens tokens", key="prompt_id_offsets")
    return _intern_ids(np.ascontiguousarray(ids), np.ascontiguousarray(offsets), prompt // block_size, block_size)


@njit(cache=True)
def _mix(h, value):  # type: ignore[no-untyped-def]
    """One round of a 32-bit multiply-xor hash in int64 arithmetic (constant of splitmix32)."""
    h = ((h ^ (value & 0xFFFFFFFF)) * 0x21F0AAAD) & 0xFFFFFFFF
    return h ^ (h >> 15)


@njit(cache=True)
def _intern_segments(offsets, stream, start, length, segment_recurs, outputs_recur, outputs, blocks, size):  # type: ignore[no-untyped-def]
    """Interns chains of runs (parent, stream, start, length); a run is cut at block ends and merged where two
    segments continue one another, so equal tokens give equal runs."""
    n = len(offsets) - 1
    most = 0
    for i in range(n):
        most += blocks[i] + offsets[i + 1] - offsets[i] + 1
    slots = 16
    while slots < 2 * most:
        slots *= 2
    table = np.full(slots, -1, np.int64)
    keys = np.empty((most, 4), np.int64)
    nodes = 0
    shared = np.empty(most, np.int64)
    used = 0
    counts = np.zeros(n, np.int64)
    for i in range(n):
        parent, filled, done = np.int64(-1), 0, 0
        run_stream, run_start, run_length = np.int64(-1), np.int64(0), np.int64(0)
        first, last = offsets[i], offsets[i + 1]
        for s in range(first, last + 1):
            if s < last:
                now_stream, now_start, left, recurs = stream[s], start[s], length[s], segment_recurs[s]
            else:
                now_stream, now_start = np.int64(OUTPUT_STREAM + i), np.int64(0)
                left, recurs = outputs[i] - 1, outputs_recur[i]
            if left <= 0:
                continue
            if not recurs or done == blocks[i]:
                break
            while left > 0 and done < blocks[i]:
                part = min(left, size - filled)
                if run_length > 0 and run_stream == now_stream and run_start + run_length == now_start:
                    run_length += part
                else:
                    if run_length > 0:
                        parent, nodes = _node(table, keys, nodes, parent, run_stream, run_start, run_length)
                    run_stream, run_start, run_length = now_stream, now_start, part
                now_start += part
                left -= part
                filled += part
                if filled == size:
                    parent, nodes = _node(table, keys, nodes, parent, run_stream, run_start, run_length)
                    run_length = np.int64(0)
                    filled = 0
                    shared[used] = parent
                    used += 1
                    done += 1
        counts[i] = done
    return shared[:used].copy(), counts


@njit(cache=True)
def _node(table, keys, nodes, parent, stream, start, length):  # type: ignore[no-untyped-def]
    """The id of (parent, stream, start, length) in an open-addressing table, new ids in order of first use."""
    mask = len(table) - 1
    h = _mix(_mix(_mix(_mix(0x9E3779B9, parent), stream), start), length)
    h = _mix(h, start >> 32)
    slot = h & mask
    while table[slot] >= 0:
        k = table[slot]
        if keys[k, 0] == parent and keys[k, 1] == stream and keys[k, 2] == start and keys[k, 3] == length:
            return k, nodes
        slot = (slot + 1) & mask
    table[slot] = nodes
    keys[nodes, 0], keys[nodes, 1], keys[nodes, 2], keys[nodes, 3] = parent, stream, start, length
    return nodes, nodes + 1


@njit(cache=True)
def _intern_ids(ids, offsets, blocks, size):  # type: ignore[no-untyped-def]
    """Interns (parent, the block's tokens); a hash finds the candidate, the tokens decide."""
    n = len(offsets) - 1
    most = blocks.sum()
    slots = 16
    while slots < 2 * most:
        slots *= 2
    table = np.full(slots, -1, np.int64)
    parents = np.empty(most, np.int64)
    where = np.empty(most, np.int64)
    nodes = 0
    shared = np.empty(most, np.int64)
    used = 0
    for i in range(n):
        parent = np.int64(-1)
        for j in range(blocks[i]):
            at = offsets[i] + j * size
            h = _mix(0x9E3779B9, parent)
            for k in range(at, at + size):
                h = _mix(h, np.int64(ids[k]))
            slot = h & (slots - 1)
            while table[slot] >= 0:
                k = table[slot]
                if parents[k] == parent and np.array_equal(ids[where[k]:where[k] + size], ids[at:at + size]):
                    break
                slot = (slot + 1) & (slots - 1)
            if table[slot] < 0:
                table[slot], parents[nodes], where[nodes] = nodes, parent, at
                nodes += 1
            parent = table[slot]
            shared[used] = parent
            used += 1
    return shared, blocks.copy()
