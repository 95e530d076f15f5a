"""KV memory as SGLang keeps it: pages of running requests, and a radix tree of prefixes that may be dropped when pages are short.

A running request holds the part of its sequence that is in the tree by a lock, the rest as pages of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.scheduler.kv_blocks import blocks_for
from simulator.scheduler.policies.radix_tree import Node, RadixTree
from simulator.scheduler.requests import Request
from simulator.workload.block_identities import BlockIdentities


@dataclass(slots=True)
class Held:
    """What a running request holds, in pages."""

    node: Node | None  # where its part of the tree ends
    cached: int  # pages in the tree
    own: int = 0  # pages beyond
    stored: bool = False  # its whole prompt has been put into the tree


class PagedMemory:
    """`pages` of `page` tokens each. identities: of the requests' pages; None: no prefix cache."""

    def __init__(self, pages: int, page: int, identities: BlockIdentities | None) -> None:
        self.users = range(pages)
        self.page, self.unused = page, pages
        self.identities = identities
        self.tree = None if identities is None else RadixTree()
        self.held: dict[int, Held] = {}  # by request

    @property
    def free(self) -> int:
        """Pages that could be had: unused, or cached and locked by nobody."""
        return self.unused + (self.tree.evictable if self.tree else 0)

    def key(self, request: Request, tokens: int) -> list[int]:
        """Identities of the full pages of so many tokens."""
        assert self.identities is not None
        return self.identities.first(request.index, tokens // self.page)

    def match(self, request: Request) -> tuple[int, Node | None]:
        """Pages of the request's known tokens that are cached; the last token is always computed (2.2.5)."""
        if self.tree is None:
            return 0, None
        return self.tree.match(self.key(request, request.known - 1))

    def lock(self, node: Node | None) -> None:
        if self.tree is not None and node is not None:
            self.tree.lock(node)

    def unlock(self, node: Node | None) -> None:
        if self.tree is not None and node is not None:
            self.tree.unlock(node)

    def start(self, request: Request, cached: int, node: Node | None) -> None:
        """A request starts running on `cached` pages of the tree, which are locked for it."""
        self.held[request.index] = Held(node, cached)

    def wanted(self, request: Request, new: int) -> int:
        """Pages that `new` more tokens take."""
        held = self.held[request.index]
        return blocks_for(request.computed + new, self.page) - held.cached - held.own

    def make_room(self, pages: int) -> bool:
        """Drops cached pages where fewer are unused (2.3; as many as are asked for, not as many as are missing). Whether there
        is room."""
        if self.unused < pages and self.tree is not None:
            self.unused += self.tree.evict(pages)
        return self.unused >= pages

    def take(self, request: Request, pages: int) -> None:
        assert 0 <= pages <= self.unused
        self.unused -= pages
        self.held[request.index].own += pages

    def store(self, request: Request, tokens: int) -> None:
        """The request's first `tokens` tokens are computed: their full pages go into the tree, and those that another request
        has put there meanwhile are given up (2.3)."""
        if self.tree is None:
            return
        held, full = self.held[request.index], tokens // self.page
        there, node = self.tree.insert(self.key(request, tokens))
        self.unused += there - held.cached
        held.own -= full - held.cached
        held.cached = full
        self.unlock(held.node)
        self.lock(node)
        held.node = node

    def finish(self, request: Request, tokens: int) -> None:
        """The request leaves; its first `tokens` tokens stay in the tree."""
        self.store(request, tokens)
        self.release(request)

    def release(self, request: Request) -> None:
        """The request leaves; what it holds beyond the tree is lost."""
        held = self.held.pop(request.index)
        self.unused += held.own
        self.unlock(held.node)
