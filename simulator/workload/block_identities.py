"""The content identities of KV blocks, with which prefix caching finds equal blocks.

The identity of a full block stands for its tokens and all tokens before it: two blocks have the same identity exactly
when both are equal. Contents are interned exactly (compared, not only hashed): no collision can merge two blocks.

Most blocks of a trace are unlike all others: once a sequence holds a token that occurs nowhere else in the trace,
every block from there on is unique. Only the blocks before that point are interned; the rest are numbered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from simulator.inputs.errors import InputError
from simulator.workload.trace import OUTPUT_STREAM, Int32, Int64, Segments, Trace


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
        interned, counts = _from_segments(trace, trace.segments, prompt, outputs, blocks, block_size)
    elif trace.prompt_ids is not None:
        interned, counts = _from_ids(trace, trace.prompt_ids, prompt, block_size)
    else:
        interned, counts = np.zeros(0, np.int64), np.zeros(len(trace), np.int64)
    # an identity that occurs once is unique after all, and so is every block behind it
    recurs = (np.bincount(interned) > 1)[interned]
    kept = np.concatenate([[0], np.cumsum(recurs)])
    offsets = kept[np.concatenate([[0], np.cumsum(counts)])]
    shared = interned[recurs]
    first_unique = int(shared.max()) + 1 if len(shared) else 0
    return BlockIdentities(offsets, shared, np.cumsum(blocks) - blocks + first_unique)


def _from_segments(
    trace: Trace, segments: Segments, prompt: Int64, outputs: Int64, blocks: Int64, block_size: int
) -> tuple[Int64, Int64]:
    """Interned identities of leading blocks that may recur, and how many each request has."""
    n = len(trace)
    begins = np.concatenate([[0], np.cumsum(segments.length)])
    if len(segments.offsets) != n + 1 or np.any(np.diff(begins[segments.offsets]) != prompt):
        raise InputError("the segments' lengths must add up to prompt_tokens", key="segments")
    # a stream recurs when two pieces of the trace draw from it; every request's outputs are one piece of its own
    own = OUTPUT_STREAM + np.arange(n, dtype=np.int64)
    _, position, uses = np.unique(np.concatenate([segments.stream, own]), return_inverse=True, return_counts=True)
    recurs = (uses > 1)[position]
    most = int(blocks.sum()) + len(segments.stream) + n if recurs.any() else 1
    return _intern_segments(
        _frozen(segments.offsets), _frozen(segments.stream), _frozen(segments.start), _frozen(segments.length),
        recurs[:len(segments.stream)], recurs[len(segments.stream):], np.maximum(outputs, 1), blocks, block_size, most,
    )


def _from_ids(trace: Trace, ids: Int32, prompt: Int64, block_size: int) -> tuple[Int64, Int64]:
    """Prompt blocks interned by their tokens; a block with a generated token is unique."""
    offsets = trace.prompt_id_offsets
    if offsets is None or len(offsets) != len(trace) + 1 or np.any(np.diff(offsets) != prompt):
        raise InputError("must cut prompt_ids into prompts of prompt_tokens tokens", key="prompt_id_offsets")
    return _intern_ids(_frozen(ids), _frozen(offsets), prompt // block_size, block_size)


def _frozen(array: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """A read-only view: numba compiles once, whether the trace is writable or lies in shared memory."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@njit(cache=True)
def _mix(h, value):  # type: ignore[no-untyped-def]
    """One round of a 32-bit multiply-xor hash in int64 arithmetic (constant of splitmix32)."""
    h = ((h ^ (value & 0xFFFFFFFF)) * 0x21F0AAAD) & 0xFFFFFFFF
    return h ^ (h >> 15)


@njit(cache=True)
def _empty_table(most):  # type: ignore[no-untyped-def]
    """An open-addressing table for `most` entries: a power of two, at most half full; -1 is empty."""
    slots = 16
    while slots < 2 * most:
        slots *= 2
    return np.full(slots, -1, np.int64)


@njit(cache=True)
def _intern_segments(offsets, stream, start, length, segment_recurs, outputs_recur, outputs, blocks, size, most):  # type: ignore[no-untyped-def]
    """Interns chains of runs (parent, stream, start, length); a run is cut at block ends and merged where two
    segments continue one another, so equal tokens give equal runs."""
    n = len(offsets) - 1
    table, keys = _empty_table(most), np.empty((most, 4), np.int64)
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
    """Interns (parent, the block's tokens) in a radix tree; tokens are compared, a hash only finds the candidate.

    A node belongs to the request that made it, and that request's further blocks hang below it unseen: they become
    nodes only when another request follows them. So a private tail costs nothing. A node's first child is always its
    owner's next block, found by comparing; other children are found through a table.
    """
    n, most = len(offsets) - 1, blocks.sum()
    table = _empty_table(n)  # a request adds at most one node to it
    mask = len(table) - 1
    parents, where, rest = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    first_child = np.empty(most, np.int64)
    nodes = 0
    visited, counts = np.empty(most, np.int64), np.zeros(n, np.int64)
    used = 0
    for i in range(n):
        node = np.int64(-1)
        for j in range(blocks[i]):
            at = offsets[i] + j * size
            if node >= 0 and rest[node] > 0 and _same(ids, where[node] + size, at, size):
                if first_child[node] < 0:
                    first_child[node] = nodes
                    parents[nodes], where[nodes], rest[nodes] = node, where[node] + size, rest[node] - 1
                    first_child[nodes] = -1
                    nodes += 1
                node = first_child[node]
                visited[used] = node
                used += 1
                continue
            h = _mix(0x9E3779B9, node)
            for k in range(at, at + size):
                h = _mix(h, np.int64(ids[k]))
            slot = h & mask
            while table[slot] >= 0 and not (parents[table[slot]] == node and _same(ids, where[table[slot]], at, size)):
                slot = (slot + 1) & mask
            found = table[slot] >= 0
            if not found:
                table[slot] = nodes
                parents[nodes], where[nodes], rest[nodes] = node, at, blocks[i] - j - 1
                first_child[nodes] = -1
                nodes += 1
            node = table[slot]
            visited[used] = node
            used += 1
            if not found:
                break
        counts[i] = used
    # below its last node a request owns what others made of its blocks
    interned, total, begin = np.empty(most, np.int64), 0, 0
    for i in range(n):
        end, start = counts[i], total
        for k in range(begin, end):
            interned[total] = visited[k]
            total += 1
        begin = end
        while 0 < total - start < blocks[i] and first_child[interned[total - 1]] >= 0:
            interned[total] = first_child[interned[total - 1]]
            total += 1
        counts[i] = total - start
    return interned[:total].copy(), counts


@njit(cache=True)
def _same(ids, a, b, size):  # type: ignore[no-untyped-def]
    for k in range(size):  # noqa: SIM110 (numba compiles the loop, not the generator)
        if ids[a + k] != ids[b + k]:
            return False
    return True
