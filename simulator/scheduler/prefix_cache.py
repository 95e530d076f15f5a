"""The prefix cache with several KV groups: what a request finds, and what is kept for later ones (G17 to G33).

A hit must leave every group able to go on: all blocks in a full group, the last ones in a window, the last state. Groups of equal
kind are looked up together. All lengths are in tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.scheduler.block_tables import NULL
from simulator.scheduler.config import KvGroupConfig
from simulator.scheduler.kv_blocks import blocks_for

Cached = Callable[[int, int], "list[int] | None"]  # (kind, position) -> the cached block of each of its groups, None: not in all


@dataclass(frozen=True)
class Hit:
    """What a request found. tables: per group, the leading slots of its block table."""

    tokens: int
    junction: int  # longest hit that some kind had where another had less: worth keeping states and windows at; 0: none
    tables: list[list[int]] = field(default_factory=list)


def kinds_of(groups: tuple[KvGroupConfig, ...]) -> list[tuple[KvGroupConfig, list[int]]]:
    """Kinds of groups with the numbers of their groups, full ones first, else in order of appearance (G17, G18)."""
    found: dict[KvGroupConfig, list[int]] = {}
    for number, group in enumerate(groups):
        found.setdefault(group, []).append(number)
    return sorted(found.items(), key=lambda item: item[0].kind != "full")


def window_blocks(group: KvGroupConfig) -> int:
    """Blocks before a boundary that a request needs to go on from it: those of the window, or the one state."""
    return 1 if group.kind == "state" else blocks_for(group.span - 1, group.block_size)


def longest_hit(kinds: list[tuple[KvGroupConfig, list[int]]], cached: Cached, known: int, unit: int, drops_last: bool) -> Hit:
    """The longest prefix of `known` tokens, a multiple of `unit` that leaves one token, from which all kinds can go on (11, G18).

    drops_last: the drafter reads one token ahead, so each kind drops its last block; with several groups it first looks one block
    further for that (S8, G32).
    """
    several = sum(len(members) for _, members in kinds) > 1
    most = known - 1
    tables: list[list[list[int]]] = [[] for _ in kinds]  # by kind, then by its groups
    length, longest, first_round = most, 0, True
    looked_further: set[int] = set()
    while True:
        now = length
        for number, (group, members) in enumerate(kinds):
            if group.kind == "full" and not first_round:
                now = now // group.block_size * group.block_size
                continue
            further = drops_last and number not in looked_further
            bound = min(now + group.block_size, known) if further and several else now
            found = _look_up(group, lambda position, kind=number: cached(kind, position), bound, unit, further)  # type: ignore[misc]
            tables[number] = [[NULL if blocks is None else blocks[m] for blocks in found] for m in range(len(members))]
            reached = len(found) * group.block_size
            if further:
                looked_further.add(number)
            elif reached < now:
                looked_further.clear()
            now = reached
            longest = max(longest, now)
        changed, length, first_round = now < length, now, False
        if not changed or len(kinds) == 1 or (len(kinds) == 2 and kinds[0][0].kind == "full"):
            break
    by_group: list[list[int]] = [[] for _ in range(sum(len(members) for _, members in kinds))]
    for (group, members), of_kind in zip(kinds, tables, strict=True):
        for member, blocks in zip(members, of_kind, strict=True):
            by_group[member] = blocks[: length // group.block_size]
    return Hit(length, longest if longest > length else 0, by_group)


def _look_up(group: KvGroupConfig, cached: Callable[[int], list[int] | None], bound: int, unit: int,
             drop: bool) -> list[list[int] | None]:
    """Slots of the longest hit of one kind within `bound` tokens; None: a slot that needs no block."""
    size = group.block_size
    most = bound // size
    if group.kind in ("window", "state"):
        return _from_the_right(cached, most, window_blocks(group) + drop, size, unit, drop)
    passed = bound // group.span * group.span // size if group.kind == "chunk" else 0  # G19
    found: list[list[int] | None] = [None] * passed
    while len(found) < most and (blocks := cached(len(found))) is not None:
        found.append(blocks)
    return found[: _whole(len(found) - (drop and len(found) > 0), size, unit)]


def _from_the_right(cached: Callable[[int], list[int] | None], most: int, needed: int, size: int, unit: int,
                    drop: bool) -> list[list[int] | None]:
    """The last place where `needed` blocks in a row are cached that ends on a multiple of `unit` (after the drop), else the run
    that starts at token 0 (G19)."""
    found: list[list[int] | None] = [None] * most
    run = 0
    for position in range(most - 1, -1, -1):
        blocks = cached(position)
        if blocks is None:
            run = 0
        elif run or (position + 1 - drop) * size % unit == 0:
            found[position] = blocks
            run += 1
            if run >= needed:
                return [None] * position + found[position: position + run - drop]
    run = _whole(run, size, unit)
    return found[: _whole(run - (drop and run > 0), size, unit)]


def _whole(blocks: int, size: int, unit: int) -> int:
    """`blocks`, or fewer so that they end on a multiple of `unit`."""
    return blocks * size // unit * unit // size


def resume_points(prompt: int, junction: int, unit: int, drops_last: bool) -> list[int]:
    """Tokens from which a later request may go on, for which windows and states are kept (G20, G33): the end of the prompt and
    where others parted from it."""
    if drops_last:
        points = [max((prompt - 1) // unit * unit - unit, 0), max(prompt // unit * unit - unit, 0)]
    else:
        points = [(prompt - 1) // unit * unit]
    return [*points, junction] if junction else points


def is_kept(group: KvGroupConfig, position: int, points: list[int], interval: int, drops_last: bool) -> bool:
    """Whether a full block at `position` of a window or state group is published: it lies in the window before one of `points`
    or before a multiple of `interval` (0: no such). With `drops_last` windows begin as early and end one block later. Other
    groups publish all (G20, G33)."""
    if group.kind in ("full", "chunk"):
        return True
    later = int(drops_last and group.kind == "window")
    needed, position = window_blocks(group) + later, position - later  # as if the window ended at the point itself
    if interval:
        every = interval // group.block_size
        if needed >= every or (position >= 0 and position % every >= every - needed):
            return True
    return any(point // group.block_size - needed <= position < point // group.block_size for point in points)
