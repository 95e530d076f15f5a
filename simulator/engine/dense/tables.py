"""Block tables: what a request lacks, takes, gives back behind its windows, and releases (7, 16, G11 to G16, G25)."""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.records import CHUNK, FAR, FULL, NULL, STATE, WINDOW, Core, Pool
from simulator.engine.kernel.prefix_cache import NONE, forget_node, list_idle, unlist
from simulator.engine.kernel.records import ANCHOR, Int, Record
from simulator.pricing.compiled import callable_from_compiled, index


def whole(tokens: Int, size: Int) -> Int:
    """Blocks of `size` tokens that `tokens` >= 0 tokens fill."""
    return np.int64(index(tokens) // index(size))


def table_slots(group: Record, tokens: Int, run: Record) -> Int:
    """Slots of a group's table that covers `tokens`. Without prefix caching a state takes a block, and one per draft (16)."""
    if group.kind == STATE and not run.caching:
        return 1 + run.draft_tokens
    return whole(tokens + group.block - 1, group.block)


def _short(group: Record, slots: Int, length: Int, caching: Int) -> Int:
    """Blocks that a table of `length` slots lacks to have `slots`: of states, that of the last token alone (G25)."""
    short = max(slots - length, np.int64(0))
    return min(short, np.int64(1)) if caching and group.kind == STATE else short


def lacking(slot: Int, tokens: Int, core: Core, pool: Pool) -> Int:
    """Blocks that a running request lacks to hold `tokens` tokens, all groups together (7)."""
    run, total = core.run, np.int64(0)
    for g in range(index(run.kv_groups)):
        group = core.groups[g]
        total += _short(group, table_slots(group, tokens, run), np.int64(pool.length[slot, g]), run.caching)
    return total


def lacking_after_hit(hit: Int, tokens: Int, at_once: bool, core: Core) -> Int:
    """The same for a request that has found `hit` tokens in the prefix cache. at_once: as if all were to be covered in one step, of
    which windows hold only a part (G14)."""
    run, total = core.run, np.int64(0)
    for g in range(index(run.kv_groups)):
        group = core.groups[g]
        slots = table_slots(group, tokens, run)
        if at_once and (group.kind == WINDOW or group.kind == CHUNK):
            slots = min(slots, group.most)
        total += _short(group, slots, whole(hit, group.block), run.caching)
    return total


def extend(slot: Int, tokens: Int, core: Core, pool: Pool) -> None:
    """Takes the blocks that `lacking` counted."""
    run, row, covered = core.run, core.slots[slot], np.int64(FAR)
    for g in range(index(run.kv_groups)):
        group, length = core.groups[g], np.int64(pool.length[slot, g])
        slots = max(table_slots(group, tokens, run), length)
        if not run.caching:
            run.free -= slots - length
        else:
            for k in range(length, slots):
                passed_over = group.kind == STATE and k < slots - 1
                pool.table[slot, g, index(k)] = index(NULL) if passed_over else _take_block(core, pool)
        pool.length[slot, g] = slots
        if group.kind != STATE or run.caching:
            covered = min(covered, slots * group.block)
    row.covered = covered


def _take_block(core: Core, pool: Pool) -> Int:
    """A free block: a blank one, else the one released longest ago, which loses its content."""
    run = core.run
    run.free -= 1
    if run.fresh_blocks > 0:
        run.fresh_blocks -= 1
        node = index(pool.free[index(run.fresh_blocks)])
    else:
        node = index(pool.nodes[index(ANCHOR)].newer)
        forget_node(node, pool)
        unlist(node, pool)
    row = pool.nodes[node]
    row.users, row.identity = 1, NONE
    return node


def passed_slots(group: Record, settled: Int) -> Int:
    """Leading slots that no later token reads once `settled` tokens are computed for good (G12, states G25)."""
    if group.kind == WINDOW:
        return whole(max(settled - group.span + 1, 0), group.block)
    if group.kind == CHUNK:
        return whole(whole(settled, group.span) * group.span, group.block)
    if group.kind == STATE:
        return whole(max(settled - 1, 0), group.block)
    return np.int64(0)


def _next_pass(group: Record, gone: Int) -> Int:
    """Least settled tokens at which more than `gone` slots have passed."""
    if group.kind == WINDOW:
        return (gone + 1) * group.block + group.span - 1
    if group.kind == CHUNK:
        return whole((gone + 1) * group.block + group.span - 1, group.span) * group.span
    if group.kind == STATE:
        return (gone + 1) * group.block + 1
    return np.int64(FAR)


def free_passed(slot: Int, settled: Int, core: Core, pool: Pool) -> None:
    """Gives back the blocks behind windows, chunks and states, the last of them first (G12, G25)."""
    run, passes = core.run, np.int64(FAR)
    for g in range(index(run.kv_groups)):
        group, gone = core.groups[g], np.int64(pool.gone[slot, g])
        passed = min(passed_slots(group, settled), np.int64(pool.length[slot, g]))
        if passed > gone:
            if not run.caching:
                run.free += passed - gone
            else:
                for k in range(passed - gone):
                    at = index(passed - 1 - k)
                    _give_back(index(pool.table[slot, g, at]), core, pool)
                    pool.table[slot, g, at] = index(NULL)
            pool.gone[slot, g] = gone = passed
        if group.kind != FULL:
            passes = min(passes, _next_pass(group, gone))
    core.slots[slot].passes = min(passes, FAR)


def release(slot: Int, core: Core, pool: Pool) -> None:
    """Gives back all blocks: group by group, each from last to first (16, G15)."""
    run = core.run
    for g in range(index(run.kv_groups)):
        length, gone = np.int64(pool.length[slot, g]), np.int64(pool.gone[slot, g])
        if not run.caching:
            run.free += length - gone
        else:
            for k in range(length - gone):
                _give_back(index(pool.table[slot, g, index(length - 1 - k)]), core, pool)
        pool.length[slot, g] = pool.gone[slot, g] = pool.published[slot, g] = 0


def _give_back(node: Int, core: Core, pool: Pool) -> None:
    """One user less of a block; of a slot without one, nothing."""
    run, row = core.run, pool.nodes[node]
    if node == NULL:
        return
    row.users -= 1
    if row.users == 0:
        run.free += 1
        if row.identity != NONE:
            list_idle(node, pool)
        else:
            pool.free[index(run.fresh_blocks)] = node
            run.fresh_blocks += 1


def held_blocks(slot: Int, g: Int, core: Core, pool: Pool) -> Int:
    """Real blocks of a running request in a group."""
    length, gone = np.int64(pool.length[slot, g]), np.int64(pool.gone[slot, g])
    if not core.run.caching:
        return length - gone
    held = np.int64(0)
    for k in range(gone, length):
        held += pool.table[slot, g, index(k)] != NULL
    return held


callable_from_compiled(__name__)
