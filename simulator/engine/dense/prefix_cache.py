"""The prefix cache over several KV groups: what a request finds, and what is published for later ones (11, 17, G17 to G33).

A block's content is named by the identity of its tokens and its group. Lengths are in tokens; see `scheduler.prefix_cache`.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.dense.records import CHUNK, FULL, NULL, STATE, WINDOW, Core, Pool
from simulator.engine.dense.tables import whole
from simulator.engine.kernel.prefix_cache import find_entry, identity, publish_node, unlist
from simulator.engine.kernel.records import ANCHOR, Int, Record, Requests
from simulator.pricing.compiled import callable_from_compiled, index


def _content(r: Int, position: Int, g: Int, core: Core, requests: Requests) -> Int:
    """What the block at `position` of group g's table holds, in one number (G17)."""
    run = core.run
    return identity(r, whole((position + 1) * core.groups[g].block, run.hash_unit) - 1, requests) * run.kv_groups + np.int64(g)


def _cached(r: Int, kind: Int, position: Int, core: Core, requests: Requests, pool: Pool) -> bool:
    """Whether every group of a kind has a cached block at `position`, which are then noted as found."""
    for k in range(index(core.kind_starts[kind]), index(core.kind_starts[index(kind + 1)])):
        g = index(core.kind_groups[k])
        node = index(pool.keys[find_entry(_content(r, position, g, core, requests), pool)].first)
        if node == ANCHOR:
            return False
        pool.found[g, index(position)] = node
    return True


def _pass_over(kind: Int, count: Int, core: Core, pool: Pool) -> None:
    """The first `count` slots need no block."""
    for k in range(index(core.kind_starts[kind]), index(core.kind_starts[index(kind + 1)])):
        g = index(core.kind_groups[k])
        for position in range(index(count)):
            pool.found[g, position] = index(NULL)


def find_hit(r: Int, known: Int, core: Core, requests: Requests, pool: Pool) -> Int:
    """Tokens of the longest prefix of `known` tokens, a multiple of the unit that leaves one token, from which all kinds can go on
    (11, G18). `found` holds its tables, `junction` the longest that some kind had, if longer (G21).

    With a drafter that reads ahead each kind drops its last block; with several groups it first looks one further (S8, G32).
    """
    run, length, longest, first, looked_further = core.run, np.int64(known) - 1, np.int64(0), True, np.int64(0)
    while True:
        now = length
        for kind in range(index(run.kinds)):
            group = core.groups[index(core.kind_groups[index(core.kind_starts[kind])])]
            if group.kind == FULL and not first:
                now = whole(now, group.block) * group.block
                continue
            bit = np.int64(1) << np.int64(kind)
            further = run.drops_last != 0 and looked_further & bit == 0
            bound = min(now + group.block, np.int64(known)) if further and run.kv_groups > 1 else now
            if group.kind == WINDOW or group.kind == STATE:
                slots = _from_the_right(r, kind, bound, further, core, requests, pool)
            else:
                slots = _from_the_left(r, kind, bound, further, core, requests, pool)
            if further:
                looked_further |= bit
            elif slots * group.block < now:
                looked_further = np.int64(0)
            now = slots * group.block
            longest = max(longest, now)
        changed, length, first = now < length, now, False
        only_one = run.kinds == 1 or (run.kinds == 2 and core.groups[index(core.kind_groups[index(0)])].kind == FULL)
        if not changed or only_one:
            break
    run.junction = longest if longest > length else np.int64(0)
    return length


def _from_the_left(r: Int, kind: Int, bound: Int, drop: bool, core: Core, requests: Requests, pool: Pool) -> Int:
    """Slots of the longest run of cached blocks from the start, or from the start of the chunk that `bound` lies in (G19)."""
    group = core.groups[index(core.kind_groups[index(core.kind_starts[kind])])]
    most, found = whole(bound, group.block), np.int64(0)
    if group.kind == CHUNK:
        found = whole(whole(bound, group.span) * group.span, group.block)
        _pass_over(kind, found, core, pool)
    while found < most and _cached(r, kind, found, core, requests, pool):
        found += 1
    if drop and found > 0:
        found -= 1
    return _on_unit(found, group, core.run)


def _from_the_right(r: Int, kind: Int, bound: Int, drop: bool, core: Core, requests: Requests, pool: Pool) -> Int:
    """Slots up to the last place where a window's blocks in a row are cached that ends on a unit (after the drop), else of the run
    from the start (G19)."""
    run, group = core.run, core.groups[index(core.kind_groups[index(core.kind_starts[kind])])]
    needed, found, position = group.needed + drop, np.int64(0), whole(bound, group.block) - 1
    while position >= 0:
        on_unit = found > 0 or (position + 1 - drop) * group.block % run.unit == 0
        if not _cached(r, kind, position, core, requests, pool):
            found = np.int64(0)
        elif on_unit:
            found += 1
            if found >= needed:
                _pass_over(kind, position, core, pool)
                return position + found - drop
        position -= 1
    found = _on_unit(found, group, run)
    if drop and found > 0:
        found -= 1
    return _on_unit(found, group, run)


def _on_unit(slots: Int, group: Record, run: Record) -> Int:
    """`slots`, or fewer so that they end on a multiple of the unit."""
    return whole(whole(slots * group.block, run.unit) * run.unit, group.block)


def idle_in_hit(hit: Int, core: Core, pool: Pool) -> Int:
    """Blocks of the hit just found that nobody uses."""
    idle = np.int64(0)
    for g in range(index(core.run.kv_groups)):
        for k in range(index(whole(hit, core.groups[g].block))):
            node = index(pool.found[g, k])
            idle += node != NULL and pool.nodes[node].users == 0
    return idle


def is_being_computed(hit: Int, core: Core, pool: Pool) -> bool:
    """Whether a state of the hit is computed in this very pass (G28)."""
    for g in range(index(core.run.kv_groups)):
        slots = whole(hit, core.groups[g].block)
        if core.groups[g].kind == STATE and slots > 0:
            node = index(pool.found[g, index(slots - 1)])
            if node != NULL and pool.nodes[node].owner == index(core.run.decided & 0xFFFFFFFF):
                return True
    return False


def share_hit(slot: Int, hit: Int, core: Core, pool: Pool) -> None:
    """Gives a request the tables of the hit just found (15)."""
    for g in range(index(core.run.kv_groups)):
        slots, nulls = whole(hit, core.groups[g].block), np.int64(0)
        for k in range(index(slots)):
            node = index(pool.found[g, k])
            pool.table[slot, g, k] = node
            if node == NULL:
                nulls += 1
                continue
            if pool.nodes[node].users == 0:
                unlist(node, pool)
                core.run.free -= 1
            pool.nodes[node].users += 1
        pool.length[slot, g] = pool.published[slot, g] = slots
        pool.gone[slot, g] = nulls


def publish(slot: Int, tokens: Int, core: Core, requests: Requests, pool: Pool) -> None:
    """Offers the blocks that the first `tokens` tokens have filled to the prefix cache, each once (17, G20 to G22, G31)."""
    run, row = core.run, core.slots[slot]
    common = whole(tokens, run.unit) * run.unit
    settled = max(tokens - max(run.reads_ahead - 1, 0), 0)  # S7
    for g in range(index(run.kv_groups)):
        group, done, limit = core.groups[g], np.int64(pool.published[slot, g]), common
        if run.drops_last and common > 0:
            limit = min(settled, whole(settled, run.unit) * run.unit + group.block)
        full = whole(limit, group.block)
        for position in range(done, full):
            node = index(pool.table[slot, g, index(position)])
            if node != NULL and _is_kept(group, position, np.int64(row.prompt), np.int64(row.junction), run):
                publish_node(node, _content(index(row.request), position, g, core, requests), pool)
                if group.kind == STATE:
                    _note_computed(index(row.request), position, g, core, requests, pool)
        pool.published[slot, g] = max(done, full)
    if run.keeps_states:
        _note_last_state(slot, common, core, requests, pool)


def _is_kept(group: Record, position: Int, prompt: Int, junction: Int, run: Record) -> bool:
    """Whether a full block at `position` is published: of windows and states, only those before a point from which a later request
    may go on: the end of the prompt, a junction, a multiple of the interval. Windows end one block later with `drops_last` (G20,
    G33)."""
    if group.kind == FULL or group.kind == CHUNK:
        return True
    later = run.drops_last if group.kind == WINDOW else np.int64(0)
    needed, position, unit = group.needed + later, position - later, run.unit
    if run.interval > 0:
        every = whole(run.interval, group.block)
        if needed >= every or (position >= 0 and np.int64(index(position) % index(every)) >= every - needed):
            return True
    if run.keeps_all:
        return False
    if junction > 0 and _is_before(junction, position, needed, group):
        return True
    if not run.drops_last:
        return _is_before(whole(prompt - 1, unit) * unit, position, needed, group)
    return (_is_before(max(whole(prompt - 1, unit) * unit - unit, 0), position, needed, group)
            or _is_before(max(whole(prompt, unit) * unit - unit, 0), position, needed, group))


def _is_before(point: Int, position: Int, needed: Int, group: Record) -> bool:
    """Whether the block at `position` is one of the `needed` before `point` tokens."""
    end = whole(point, group.block)
    return end - needed <= position < end


def _note_last_state(slot: Int, filled: Int, core: Core, requests: Requests, pool: Pool) -> None:
    """The state at the prompt's own last boundary counts as under computation as long as its request has not filled the next
    block (G28)."""
    row = core.slots[slot]
    for g in range(index(core.run.kv_groups)):
        group = core.groups[g]
        position = whole(np.int64(row.prompt) - 1, group.block) - 1
        if group.kind != STATE or position < 0 or whole(filled, group.block) != position + 1:
            continue
        if pool.table[slot, g, index(position)] != NULL:
            _note_computed(index(row.request), position, g, core, requests, pool)


def _note_computed(r: Int, position: Int, g: Int, core: Core, requests: Requests, pool: Pool) -> None:
    """A state is computed in this pass: so are all blocks with its content."""
    node = index(pool.keys[find_entry(_content(r, position, g, core, requests), pool)].first)
    while node != ANCHOR:
        pool.nodes[node].owner = index(core.run.decided & 0xFFFFFFFF)
        node = index(pool.nodes[node].twin_newer)


callable_from_compiled(__name__, apart=("find_hit", "publish"))
