"""Layers with a window or in chunks: the blocks behind them go back while their request runs (G12, G13).

Once its window is full, a decode in step gives back a block every block size tokens, so its group counts these blocks by phase
(`drops`), as it counts those that it needs. Until then, and at every border of a chunk, an event of the request does it.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.kernel.records import PART_BITS, SLOT_BITS, Core, Int
from simulator.engine.kernel.running import blocks_for, clear_event, computed_of, full_blocks, set_event
from simulator.pricing.compiled import callable_from_compiled, index


def held_blocks(slot: Int, tokens: Int, core: Core) -> Int:
    """Blocks of a request whose block tables cover `tokens` tokens, but for those that it has given back."""
    run = core.run
    held = run.growing * blocks_for(tokens, run) + run.fixed_blocks
    for k in range(index(run.window_kinds)):
        held -= core.windows[k].count * core.gone[slot, k]
    return held


def blocks_at_once(tokens: Int, core: Core) -> Int:
    """Blocks of a request of `tokens` tokens, of which windows hold only a part (G14)."""
    run, each = core.run, blocks_for(tokens, core.run)
    blocks = run.growing * each + run.fixed_blocks
    for k in range(index(run.window_kinds)):
        window = core.windows[k]
        blocks -= window.count * max(each - window.most, np.int64(0))
    return blocks


def settled_tokens(slot: Int, computed: Int, core: Core) -> Int:
    """Of a request's computed tokens those of steps that have ended; it is served by itself, or for the first time in step."""
    row = core.slots[slot]
    return computed - row.chunk if row.last > core.run.delivered else computed


def drop_passed(slot: Int, settled: Int, core: Core) -> None:
    """Gives back the blocks behind the windows of a request that is served now."""
    run = core.run
    for k in range(index(run.window_kinds)):
        passed = _passed(k, settled, core)
        if passed > core.gone[slot, k]:
            run.free += core.windows[k].count * (passed - core.gone[slot, k])
            core.gone[slot, k] = passed
    core.slots[slot].dropped = run.decided


def _passed(k: Int, settled: Int, core: Core) -> Int:
    """Leading blocks that no later token reads."""
    window = core.windows[k]
    if window.chunked:
        return full_blocks(settled - np.int64(index(settled) % index(window.span)), core.run)
    return full_blocks(max(settled - window.span + 1, np.int64(0)), core.run)


def drop_in_step(g: Int, core: Core) -> None:
    """The same for all decodes in step, in a pass that serves all of them."""
    run, group = core.run, core.groups[g]
    run.free += core.drops[g, index(group.phase)]
    if group.next >> SLOT_BITS != group.pass_:
        return
    for part in range(index(core.least.shape[1])):
        if core.least[g, part] >> SLOT_BITS == group.pass_:
            for k in range(index(1 << PART_BITS)):
                slot = index((part << PART_BITS) + k)
                if core.events[g, slot] >> SLOT_BITS == group.pass_:
                    settled = _settled_in_step(g, slot, core)
                    _write_gone(slot, settled, core)
                    drop_passed(slot, settled, core)
                    _keep_step(g, slot, core)


def drop_one(g: Int, slot: Int, computed: Int, core: Core) -> None:
    """The same for a request that is served by itself."""
    row = core.slots[slot]
    if row.kind != g:
        drop_passed(slot, settled_tokens(slot, computed, core), core)
        return
    settled = _settled_in_step(g, slot, core)
    _write_gone(slot, settled - 1, core)
    drop_passed(slot, settled, core)
    if core.events[g, slot] >> SLOT_BITS == core.groups[g].pass_:
        _keep_step(g, slot, core)


def _settled_in_step(g: Int, slot: Int, core: Core) -> Int:
    """Settled tokens of a decode in step: with async scheduling the step before is in flight."""
    computed = computed_of(slot, core)
    if core.slots[slot].joined == core.groups[g].pass_:
        return settled_tokens(slot, computed, core)
    return computed - core.run.asynchronous


def _keep_step(g: Int, slot: Int, core: Core) -> None:
    """A decode's event has come: from now on its group gives back the blocks of windows that are full. Sets the next event."""
    run, group, row = core.run, core.groups[g], core.slots[slot]
    settled, first = _settled_in_step(g, slot, core), row.joined == group.pass_
    following = computed_of(slot, core) + 1 - run.asynchronous  # settled at the next pass
    at = row.last_pass
    for k in range(index(run.window_kinds)):
        window, bit = core.windows[k], np.int64(1) << np.int64(k)
        if window.chunked:
            behind = np.int64(index(following) % index(window.span))
            missed = first and run.asynchronous  # borders within the chunk that was in flight
            at = min(at, group.pass_ + 1 + (window.span - behind if behind > 0 and not missed else np.int64(0)))
        elif row.steady & bit == 0:
            if settled >= window.span - 1 and not (first and run.asynchronous):
                row.steady |= bit
                core.drops[g, _phase(slot, k, core)] += window.count
            else:
                at = min(at, group.pass_ + 1 + max(window.span - 1 - following, np.int64(0)))
    clear_event(g, slot, core)
    set_event(g, slot, max(at, group.pass_), core)


def leave_step(g: Int, slot: Int, computed: Int, core: Core) -> None:
    """A decode, with `computed` tokens at its group's next pass, leaves it."""
    run, row = core.run, core.slots[slot]
    if row.dropped != run.decided:
        _write_gone(slot, computed - 1 - run.asynchronous, core)
    for k in range(index(run.window_kinds)):
        if row.steady & (np.int64(1) << np.int64(k)) != 0:
            core.drops[g, _phase(slot, k, core)] -= core.windows[k].count
    row.steady = 0


def _write_gone(slot: Int, settled: Int, core: Core) -> None:
    """Writes down what the group has given back for a decode up to a pass with so many settled tokens."""
    for k in range(index(core.run.window_kinds)):
        if core.slots[slot].steady & (np.int64(1) << np.int64(k)) != 0:
            core.gone[slot, k] = _passed(k, settled, core)


def _phase(slot: Int, k: Int, core: Core) -> Int:
    """The phase in which a steady decode gives back a block."""
    run = core.run
    return index(np.int64(index(core.slots[slot].key + run.asynchronous + core.windows[k].span - 1) % index(run.block_size)))


callable_from_compiled(__name__)
