"""Prefix caching for the engine with counters in registers: only blocks that another request can hit are kept one by one.

Most blocks of a trace are unlike all others (`BlockIdentities.unique`). Of them only the number matters: how many a
request holds, and, once it has finished, how many lie idle at which place of the LRU list. A finished request's
leave as one run. Blocks that recur are nodes of their own, as in `fast_pool`, whose lists and hash table are used.

`Pool` fields mean: `users` of a node, or minus the length of a run; `blank` free node numbers; `ends[FRESH]` blank
blocks; `table` and `published` the nodes of a running request's leading, recurring blocks.

No request may be preempted: a resumed one would look for its own blocks. The caller turns to `fast_general` then.
"""

from __future__ import annotations

from simulator.engine.fast_pool import BLANK, FRESH, HEAD, NONE, enter_idle, find, leave_idle, list_published, withdraw


def _new_node(pool):
    pool.ends[BLANK] -= 1
    return pool.blank[pool.ends[BLANK]]


def _free_node(pool, node):
    leave_idle(pool, node)
    pool.blank[pool.ends[BLANK]] = node
    pool.ends[BLANK] += 1


def take_blocks(pool, count):
    """Takes free blocks: blank ones first, then idle ones, least recently released first, which lose their content."""
    fresh = min(count, pool.ends[FRESH])
    pool.ends[FRESH] -= fresh
    count -= fresh
    while count > 0:
        node = pool.ends[HEAD]
        run = -pool.users[node]
        if run > count:
            pool.users[node] += count
            return
        if run > 0:
            count -= run
        else:
            withdraw(pool, node)
            count -= 1
        _free_node(pool, node)


def recurring(requests, r):
    """Leading blocks of request r that another request may have too."""
    return requests.identity_offsets[r + 1] - requests.identity_offsets[r]


def hits_of(pool, requests, r, most):
    """How many leading blocks of request r, at most `most`, are cached, and how many of those are idle."""
    found = idle = 0
    begin, most = requests.identity_offsets[r], min(most, recurring(requests, r))
    while found < most:
        node = find(pool, requests.shared[begin + found])
        if node == NONE:
            break
        idle += 1 if pool.users[node] == 0 else 0
        pool.hits[found] = node
        found += 1
    return found, idle


def share_hits(pool, slot, count):
    """One more user for each of the blocks that `hits_of` has just found."""
    for k in range(count):
        node = pool.hits[k]
        if pool.users[node] == 0:
            leave_idle(pool, node)
        pool.users[node] += 1
        pool.table[slot, k] = node
    pool.published[slot] = count


def publish_recurring(pool, slot, requests, r, full):
    """Publishes those of the leading `full` blocks that may recur, as far as that has not been done."""
    full, begin = min(full, recurring(requests, r)), requests.identity_offsets[r]
    for k in range(pool.published[slot], full):
        node = _new_node(pool)
        pool.users[node] = 1
        list_published(pool, node, requests.shared[begin + k])
        pool.table[slot, k] = node
    pool.published[slot] = max(pool.published[slot], full)


def release_blocks(pool, slot, tokens, block_shift):
    """Gives back the blocks of a finished request that holds `tokens` tokens, last first. Returns how many are free
    now."""
    full = tokens >> block_shift
    partly = 1 if tokens > full << block_shift else 0
    pool.ends[FRESH] += partly
    nodes = pool.published[slot]
    freed = full - nodes
    if freed > 0:
        node = _new_node(pool)
        pool.users[node] = -freed
        enter_idle(pool, node)
    for k in range(nodes - 1, -1, -1):
        node = pool.table[slot, k]
        pool.users[node] -= 1
        if pool.users[node] == 0:
            enter_idle(pool, node)
            freed += 1
    return freed + partly
