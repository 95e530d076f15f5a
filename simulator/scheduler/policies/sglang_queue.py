"""The order in which SGLang takes waiting requests (2.2.4); it sorts the queue itself, so an order outlasts the pass."""

from __future__ import annotations

from simulator.scheduler.kv_blocks import blocks_for
from simulator.scheduler.policies.radix_tree import Node
from simulator.scheduler.policies.sglang_memory import PagedMemory
from simulator.scheduler.requests import Request

SHARED_TOKENS = 32  # IN_BATCH_PREFIX_CACHING_CHECK_THRESHOLD and .._DEPRIORITIZE_THRESHOLD, schedule_policy.py


def sort_queue(waiting: list[Request], policy: str, memory: PagedMemory, longest_prefix_queue: int) -> None:
    """Sorts the waiting requests in place. policy: fcfs, lof, lpm or dfs-weight; the last two are fcfs without a cache."""
    if policy == "lof":
        waiting.sort(key=lambda request: -request.wanted)
    elif memory.tree is not None and policy == "lpm" and len(waiting) <= longest_prefix_queue:
        _longest_prefix_first(waiting, memory)
    elif memory.tree is not None and policy == "dfs-weight":
        _by_subtree(waiting, memory)


def _longest_prefix_first(waiting: list[Request], memory: PagedMemory) -> None:
    """Those with little in the cache that share a prefix with one before them go last, so that they can hit it later."""
    rank: dict[int, float] = {}
    seen: set[int] = set()
    shared_pages = blocks_for(SHARED_TOKENS, memory.page)
    for request in waiting:
        key = memory.key(request, request.known)
        assert memory.tree is not None
        matched = memory.tree.match(key)[0] * memory.page
        rank[request.index] = -min(matched, request.known - 1)
        if matched <= SHARED_TOKENS and len(key) >= shared_pages:
            prefix = key[shared_pages - 1]
            if prefix in seen:
                rank[request.index] = float("inf")
            seen.add(prefix)
    waiting.sort(key=lambda request: rank[request.index])


def _by_subtree(waiting: list[Request], memory: PagedMemory) -> None:
    """Depth first through the tree, subtrees in which most requests end first."""
    tree = memory.tree
    assert tree is not None
    ending: dict[int, list[Request]] = {}  # by the number of the node in which a request's cached prefix ends
    for request in waiting:
        ending.setdefault(tree.match(memory.key(request, request.known))[1].number, []).append(request)
    weights: dict[int, int] = {}
    order: list[Node] = []
    stack = [tree.root]
    while stack:  # parents before children
        node = stack.pop()
        order.append(node)
        stack += node.children.values()
    for node in reversed(order):
        weights[node.number] = len(ending.get(node.number, ())) + sum(weights[child.number] for child in node.children.values())
    waiting.clear()
    steps: list[tuple[Node, bool]] = [(tree.root, False)]
    while steps:
        node, left = steps.pop()
        if left:
            waiting += ending.get(node.number, [])
        else:
            steps.append((node, True))
            steps += [(child, False) for child in sorted(node.children.values(), key=lambda child: -weights[child.number])[::-1]]
