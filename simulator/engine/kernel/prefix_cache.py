"""The prefix cache: blocks that a look-up may find one by one are nodes, of all others only the number is kept.

Most blocks of a trace are unlike all others (`BlockIdentities.unique`): only their own request can hit them, after a
preemption. Released together, they lie idle as one run, whose tail is evicted first, so that what is left of it is a prefix.
Blocks that recur are nodes in a hash table by identity, equal ones in order of publication. Victims by priority may have
published blocks that they never computed; there every block is a node (`recurring`).

A node is in use, or idle in the list of least recently released ones, which are taken after the blank blocks
(`run.fresh_blocks`). Open addressing with linear probing; a removal shifts the following entries back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.engine.kernel.records import ANCHOR, Core, Int, Pool, Requests
from simulator.pricing.compiled import callable_from_compiled, index

NONE = -1  # identity of an empty entry
Nodes = Any  # the pool of either kernel: its `nodes` and `keys`


def recurring(r: Int, core: Core, requests: Requests) -> Int:
    """Leading blocks of request r that are nodes."""
    if core.run.by_priority:
        return np.int64(1 << 40)
    return requests.identity_offsets[index(r + 1)] - requests.identity_offsets[r]


def identity(r: Int, k: Int, requests: Requests) -> Int:
    """Identity of block k of request r."""
    at = requests.identity_offsets[r] + k
    if at < requests.identity_offsets[index(r + 1)]:
        return requests.shared[index(at)]
    return requests.unique[r] + k


def _home(key: Int, pool: Nodes) -> Int:
    """Where the search for `key` begins: runs of eight neighbouring identities share a cache line."""
    return index(((((key >> 3) & 0x7FFFFFFF) * 0x1E3779B1 >> 9 << 3) | (key & 7)) & (len(pool.keys) - 1))


def find_entry(key: Int, pool: Nodes) -> Int:
    """The entry that holds `key`, or the empty one where it belongs."""
    i = _home(key, pool)
    while pool.keys[i].identity != NONE and pool.keys[i].identity != key:
        i = index(np.int64(i + 1) & (len(pool.keys) - 1))
    return i


def unlist(node: Int, pool: Nodes) -> None:
    """Takes a node out of the list of idle ones."""
    row = pool.nodes[node]
    pool.nodes[index(row.older)].newer = row.newer
    pool.nodes[index(row.newer)].older = row.older


def list_idle(node: Int, pool: Nodes) -> None:
    """The node was released last."""
    row, end = pool.nodes[node], pool.nodes[index(ANCHOR)]
    row.older, row.newer = end.older, ANCHOR
    pool.nodes[index(end.older)].newer = node
    end.older = node


def publish_node(node: Int, key: Int, pool: Nodes) -> None:
    """Makes a node findable. Equal ones are not merged."""
    i, row = find_entry(key, pool), pool.nodes[node]
    entry = pool.keys[i]
    row.identity, row.twin_newer, row.twin_older = key, ANCHOR, ANCHOR
    if entry.identity == NONE:
        entry.identity, entry.first = key, node
    else:
        row.twin_older = entry.last
        pool.nodes[index(entry.last)].twin_newer = node
    entry.last = node


def forget_node(node: Int, pool: Nodes) -> None:
    """Takes a published node out of the hash table."""
    row = pool.nodes[node]
    i = find_entry(row.identity, pool)
    entry = pool.keys[i]
    older, newer = index(row.twin_older), index(row.twin_newer)
    if older != ANCHOR:
        pool.nodes[older].twin_newer = newer
    else:
        entry.first = newer
    if newer != ANCHOR:
        pool.nodes[newer].twin_older = older
    else:
        entry.last = older
    if entry.first == ANCHOR:
        _close_gap(i, pool)


def _close_gap(gap: Int, pool: Nodes) -> None:
    """Removes an entry; entries after it that searches reach only through it move back."""
    mask, i = len(pool.keys) - 1, gap
    while True:
        i = index(np.int64(i + 1) & mask)
        entry = pool.keys[i]
        if entry.identity == NONE:
            break
        home = np.int64(_home(entry.identity, pool))
        if ((np.int64(i) - home) & mask) >= ((np.int64(i) - np.int64(gap)) & mask):
            hole = pool.keys[gap]
            hole.identity, hole.first, hole.last = entry.identity, entry.first, entry.last
            gap = i
    hole = pool.keys[gap]
    hole.identity, hole.first = NONE, ANCHOR


def take_blocks(count: Int, core: Core, pool: Pool) -> None:
    """Takes free blocks: blank ones, then idle ones, least recently released first, which lose their content."""
    run = core.run
    blank = min(count, run.fresh_blocks)
    run.fresh_blocks -= blank
    count -= blank
    while count > 0:
        node = index(pool.nodes[index(ANCHOR)].newer)
        row = pool.nodes[node]
        length = -np.int64(row.users)
        if length > count:
            row.users += count
            break
        if length > 0:
            count -= length
            if row.owner != 0:
                pool.own_run[index(row.owner - 1)] = ANCHOR
        else:
            forget_node(node, pool)
            count -= 1
        unlist(node, pool)
        pool.free[index(run.free_nodes)] = node
        run.free_nodes += 1


def find_prefix(r: Int, most: Int, core: Core, requests: Requests, pool: Pool) -> tuple[Int, Int, Int]:
    """Cached leading blocks of request r (11), at most `most`: how many nodes, how many of them are idle, and how many blocks of
    the request's own idle run."""
    found = idle = np.int64(0)
    bound = min(most, recurring(r, core, requests))
    while found < bound:
        node = index(pool.keys[find_entry(identity(r, found, requests), pool)].first)
        if node == ANCHOR:
            break
        idle += pool.nodes[node].users == 0
        pool.found[index(found)] = node
        found += 1
    own = np.int64(0)
    if found == bound and not core.run.by_priority and pool.own_run[r] != ANCHOR:
        own = min(most - found, -np.int64(pool.nodes[index(pool.own_run[r])].users))
    return found, idle, own


def share_prefix(slot: Int, r: Int, found: Int, own: Int, core: Core, pool: Pool) -> None:
    """Gives the slot the blocks that `find_prefix` has just found (15)."""
    for k in range(index(found)):
        node = index(pool.found[k])
        if pool.nodes[node].users == 0:
            unlist(node, pool)
        pool.nodes[node].users += 1
        pool.table[slot, k] = node
    core.slots[slot].published = found
    if own > 0:
        node = index(pool.own_run[r])
        pool.own_run[r] = ANCHOR
        unlist(node, pool)
        pool.free[index(core.run.free_nodes)] = node
        core.run.free_nodes += 1


def publish(slot: Int, full: Int, core: Core, requests: Requests, pool: Pool) -> None:
    """Publishes those of the slot's leading `full` blocks that are nodes, as far as that has not been done (17)."""
    row = core.slots[slot]
    r = index(row.request)
    for k in range(np.int64(row.published), min(full, recurring(r, core, requests))):
        core.run.free_nodes -= 1
        node = index(pool.free[index(core.run.free_nodes)])
        pool.nodes[node].users = 1
        publish_node(node, identity(r, k, requests), pool)
        pool.table[slot, index(k)] = node
        row.published = k + 1


def release(slot: Int, held: Int, full: Int, owner: Int, core: Core, pool: Pool) -> Int:
    """Gives back the slot's `held` blocks, last first, of which `full` are published. Returns how many are free now. `owner`: the
    request + 1 that may come back for them, or 0."""
    nodes = np.int64(core.slots[slot].published)
    core.run.fresh_blocks += held - full
    freed = held - nodes
    if full > nodes:
        core.run.free_nodes -= 1
        node = index(pool.free[index(core.run.free_nodes)])
        row = pool.nodes[node]
        row.users, row.owner = nodes - full, owner
        if owner != 0:
            pool.own_run[index(owner - 1)] = node
        list_idle(node, pool)
    for j in range(index(nodes)):
        node = index(pool.table[slot, index(nodes - 1 - j)])
        row = pool.nodes[node]
        row.users -= 1
        if row.users == 0:
            list_idle(node, pool)
            freed += 1
    return freed


callable_from_compiled(__name__)
