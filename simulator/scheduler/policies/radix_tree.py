"""A radix tree of cached prefixes in pages, as SGLang's RadixCache keeps them: least recently used leaves go first.

A page's identity stands for its tokens and all before it (`workload.block_identities`), so two sequences that agree in one
page agree in all before, and how far a run of pages matches is found by halving.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence


class Node:
    """A run of pages. `locks`: running requests whose prefix it is part of."""

    __slots__ = ("children", "key", "locks", "number", "parent", "used")

    def __init__(self, key: list[int], parent: Node | None, locks: int, number: int) -> None:
        self.key, self.parent, self.locks = key, parent, locks
        self.children: dict[int, Node] = {}
        self.number = self.used = number  # of its making, and when it was last used


class RadixTree:
    """Cached prefixes. Whoever inserts pages has taken them from the free ones, and gets the evicted ones back."""

    def __init__(self) -> None:
        self.root = Node([], None, 1, 0)
        self.evictable = 0  # pages that no lock holds
        self._clock = 0
        self._leaves: list[tuple[int, int, Node]] = []  # heap by last use; entries that no longer hold are passed over

    def match(self, key: Sequence[int]) -> tuple[int, Node]:
        """How many leading pages of `key` are cached, and the node in which they end (split there, and used now)."""
        matched, node, now = 0, self.root, self._tick()
        while matched < len(key) and (child := node.children.get(key[matched])) is not None:
            child.used = now
            same = _same(child.key, key, matched)
            matched += same
            if same < len(child.key):
                node = self._split(child, same)
                break
            node = child
        self._offer(node)
        return matched, node

    def insert(self, key: list[int]) -> tuple[int, Node]:
        """Makes all of `key` cached. Returns how many of its pages were so already, and the node in which it ends."""
        matched, node = self.match(key)
        if matched < len(key):
            leaf = Node(key[matched:], node, 0, self._tick())
            node.children[leaf.key[0]] = leaf
            self.evictable += len(leaf.key)
            self._offer(leaf)
            node = leaf
        return matched, node

    def lock(self, node: Node) -> None:
        """Nothing up to and including `node` is evicted until it is unlocked."""
        for part in _upwards(node):
            if part.locks == 0:
                self.evictable -= len(part.key)
            part.locks += 1

    def unlock(self, node: Node) -> None:
        for part in _upwards(node):
            part.locks -= 1
            if part.locks == 0:
                self.evictable += len(part.key)
                self._offer(part)

    def evict(self, pages: int) -> int:
        """Drops leaves, whole ones, until so many pages are free or none is left to drop. Returns how many it freed."""
        freed = 0
        while freed < pages and self._leaves:
            used, _, leaf = heapq.heappop(self._leaves)
            if leaf.used != used or leaf.locks or leaf.children or leaf.parent is None:
                continue
            parent, leaf.parent = leaf.parent, None
            del parent.children[leaf.key[0]]
            freed += len(leaf.key)
            self.evictable -= len(leaf.key)
            self._offer(parent)
        return freed

    def _split(self, child: Node, at: int) -> Node:
        """Cuts a run in two; returns the upper part, which takes the lower one's place."""
        parent = child.parent
        assert parent is not None
        upper = Node(child.key[:at], parent, child.locks, self._tick())
        child.key, child.parent = child.key[at:], upper
        upper.children[child.key[0]] = child
        parent.children[upper.key[0]] = upper
        self._offer(child)
        return upper

    def _offer(self, node: Node) -> None:
        """Notes a leaf that may be dropped."""
        if node.locks == 0 and not node.children and node.parent is not None:
            heapq.heappush(self._leaves, (node.used, node.number, node))

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def _upwards(node: Node) -> Iterator[Node]:
    """`node` and those above it, without the root."""
    part: Node | None = node
    while part is not None and part.parent is not None:
        yield part
        part = part.parent


def _same(run: list[int], key: Sequence[int], begin: int) -> int:
    """How many pages of a run whose first one matches key[begin] match."""
    low, high = 1, min(len(run), len(key) - begin)
    while low < high:
        middle = (low + high + 1) // 2
        if run[middle - 1] == key[begin + middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low
