"""KV blocks with prefix caching as arrays: reference counts, the LRU list of idle cached blocks, identities by hash.

A block is blank (no identity; taken first), in use (`users` > 0), or idle (cached, nobody uses it; least recently
released taken next). Equal blocks are not merged: those of one identity form a list, oldest first, and the hash table
keeps both of its ends. Open addressing with linear probing; a removal shifts the following entries back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from simulator.engine.fast_arrays import Array, write

NONE = -1


class Pool(NamedTuple):
    """Mutable state of all KV blocks; shapes [blocks] unless said. Block numbers are int32."""

    users: Array  # int32
    identity: Array  # int64, NONE while not published
    older: Array  # int32 neighbours in the LRU list, or in the list of one identity
    newer: Array
    twin_older: Array
    twin_newer: Array
    blank: Array  # int32 stack of blank blocks
    ends: Array  # int64 [5]: BLANK blocks, LRU HEAD and TAIL, IDLE blocks, FRESH
    keys: Array  # int64 [power of two]: identity or NONE
    first: Array  # int32 [same]: oldest published block of the key
    last: Array  # int32 [same]: newest
    table: Array  # int32 [max_num_seqs, blocks of the longest request]: blocks of a running request, by slot
    held: Array  # int32 [max_num_seqs]
    published: Array  # int32 [max_num_seqs]: leading blocks that have been published
    hits: Array  # int32 [blocks of the longest request]: scratch
    free_slots: Array  # int32 [max_num_seqs + 1]: a stack, its height in the last entry


BLANK, HEAD, TAIL, IDLE, FRESH = range(5)  # FRESH: see fast_prefix

_I32, _I64 = types.int32, types.int64
POOL = types.NamedTuple(
    [write(_I32), write(_I64)]
    + [write(_I32)] * 5
    + [write(_I64)] * 2
    + [write(_I32)] * 2
    + [write(_I32, 2)]
    + [write(_I32)] * 4,
    Pool,
)


def new_pool(blocks: int, max_num_seqs: int, longest_blocks: int) -> Pool:
    """`blocks` blank blocks; tables for `max_num_seqs` requests of at most `longest_blocks` blocks."""
    entries = 1 << max(3, (2 * blocks - 1).bit_length())
    link = np.full((4, blocks), NONE, np.int32)
    return Pool(
        np.zeros(blocks, np.int32),
        np.full(blocks, NONE, np.int64),
        link[0],
        link[1],
        link[2],
        link[3],
        np.arange(blocks, dtype=np.int32)[::-1].copy(),
        np.array([blocks, NONE, NONE, 0, blocks], np.int64),
        np.full(entries, NONE, np.int64),
        np.full(entries, NONE, np.int32),
        np.full(entries, NONE, np.int32),
        np.zeros((max_num_seqs, longest_blocks), np.int32),
        np.zeros(max_num_seqs, np.int32),
        np.zeros(max_num_seqs, np.int32),
        np.zeros(longest_blocks, np.int32),
        np.concatenate([np.arange(max_num_seqs), [max_num_seqs]]).astype(np.int32),
    )


def _home(pool, key):
    """Where the search for `key` begins: runs of eight neighbouring identities share a cache line."""
    return ((((key >> 3) & 0x7FFFFFFF) * 0x1E3779B1 >> 9 << 3) | (key & 7)) & (len(pool.keys) - 1)


def _entry(pool, key):
    """Index of the entry that holds `key`, or of the empty one where it belongs."""
    mask = len(pool.keys) - 1
    i = _home(pool, key)
    while pool.keys[i] != NONE and pool.keys[i] != key:
        i = (i + 1) & mask
    return i


def find(pool, key):
    """The oldest published block of identity `key`, or NONE."""
    return pool.first[_entry(pool, key)]


def list_published(pool, block, key):
    """Makes a block findable by its identity."""
    i = _entry(pool, key)
    pool.identity[block] = key
    pool.twin_newer[block] = NONE
    if pool.keys[i] == NONE:
        pool.keys[i] = key
        pool.first[i] = block
        pool.twin_older[block] = NONE
    else:
        pool.twin_older[block] = pool.last[i]
        pool.twin_newer[pool.last[i]] = block
    pool.last[i] = block


def withdraw(pool, block):
    """Takes a published block out of the hash table."""
    i = _entry(pool, pool.identity[block])
    older, newer = pool.twin_older[block], pool.twin_newer[block]
    if older != NONE:
        pool.twin_newer[older] = newer
    else:
        pool.first[i] = newer
    if newer != NONE:
        pool.twin_older[newer] = older
    else:
        pool.last[i] = older
    pool.identity[block] = NONE
    if pool.first[i] == NONE:
        _close_gap(pool, i)


def _close_gap(pool, gap):
    """Removes entry `gap`; entries after it that searches reach only through it move back."""
    mask = len(pool.keys) - 1
    i = gap
    while True:
        i = (i + 1) & mask
        key = pool.keys[i]
        if key == NONE:
            break
        if ((i - _home(pool, key)) & mask) >= ((i - gap) & mask):
            pool.keys[gap], pool.first[gap], pool.last[gap] = key, pool.first[i], pool.last[i]
            gap = i
    pool.keys[gap], pool.first[gap], pool.last[gap] = NONE, NONE, NONE


def leave_idle(pool, block):
    """Takes a block out of the LRU list."""
    older, newer = pool.older[block], pool.newer[block]
    if older != NONE:
        pool.newer[older] = newer
    else:
        pool.ends[HEAD] = newer
    if newer != NONE:
        pool.older[newer] = older
    else:
        pool.ends[TAIL] = older
    pool.ends[IDLE] -= 1


def enter_idle(pool, block):
    """Appends a block to the LRU list."""
    tail = pool.ends[TAIL]
    pool.older[block], pool.newer[block] = tail, NONE
    if tail != NONE:
        pool.newer[tail] = block
    else:
        pool.ends[HEAD] = block
    pool.ends[TAIL] = block
    pool.ends[IDLE] += 1


def _take(pool):
    """A block for new tokens: a blank one, else the least recently released cached one, which loses its content."""
    if pool.ends[BLANK] > 0:
        pool.ends[BLANK] -= 1
        return pool.blank[pool.ends[BLANK]]
    block = pool.ends[HEAD]
    leave_idle(pool, block)
    withdraw(pool, block)
    return block


def take_slot(pool):
    """A free block table."""
    height = len(pool.free_slots) - 1
    pool.free_slots[height] -= 1
    slot = pool.free_slots[pool.free_slots[height]]
    pool.held[slot] = 0
    pool.published[slot] = 0
    return slot


def identity(requests, r, k):
    """Identity of block k of request r."""
    at = requests.identity_offsets[r] + k
    if at < requests.identity_offsets[r + 1]:
        return requests.shared[at]
    return requests.unique[r] + k


def hits(pool, requests, r, most):
    """How many leading blocks of request r, at most `most`, are cached, and how many of those blocks are idle."""
    found = idle = 0
    while found < most:
        block = find(pool, identity(requests, r, found))
        if block == NONE:
            break
        idle += pool.users[block] == 0
        found += 1
    return found, idle


def take_hits(pool, slot, requests, r, count):
    """One more user for each of the first `count` blocks, which become the head of the slot's table."""
    for k in range(count):
        block = find(pool, identity(requests, r, k))
        if pool.users[block] == 0:
            leave_idle(pool, block)
        pool.users[block] += 1
        pool.table[slot, k] = block
    pool.held[slot] = count
    pool.published[slot] = count


def grow(pool, slot, blocks):
    """Extends the slot's table to `blocks` blocks."""
    for k in range(pool.held[slot], blocks):
        block = _take(pool)
        pool.users[block] = 1
        pool.table[slot, k] = block
    pool.held[slot] = max(pool.held[slot], blocks)


def publish(pool, slot, requests, r, full):
    """Publishes the leading `full` blocks of request r as far as that has not been done."""
    for k in range(pool.published[slot], full):
        list_published(pool, pool.table[slot, k], identity(requests, r, k))
    pool.published[slot] = max(pool.published[slot], full)


def release(pool, slot):
    """Gives the slot and its blocks back, last block first. Returns how many blocks became free."""
    freed = 0
    for k in range(pool.held[slot] - 1, -1, -1):
        block = pool.table[slot, k]
        pool.users[block] -= 1
        if pool.users[block] == 0:
            freed += 1
            if pool.identity[block] == NONE:
                pool.blank[pool.ends[BLANK]] = block
                pool.ends[BLANK] += 1
            else:
                enter_idle(pool, block)
    height = len(pool.free_slots) - 1
    pool.free_slots[pool.free_slots[height]] = slot
    pool.free_slots[height] += 1
    return freed
