"""KV capacity with several kinds of cache, as vLLM 0.32 sizes it: groups of layers, one page size, one pool of blocks.

Every layer's cache has a page: the bytes of one block. Layers of equal cache form buckets, buckets are cut into groups of one
size, and a block of the pool holds one page for every layer of a group, so any block serves any group and smaller groups waste
the rest. Where layers keep a state, the attention block is made large enough to hold one, and states are padded to that page.
One block of the pool is the null block that stands for freed ones (vllm/v1/core: kv_cache_utils.py,
single_type_kv_cache_manager.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, gcd, lcm

from simulator.inputs.errors import InputError
from simulator.model.caches import Cache, CacheKind

BLOCK = 16  # tokens of a block, the attention kernels' own
LATENT_BLOCK = 64  # FlashMLA's
LATENT_UNIT = 128  # what a latent block beside states is a multiple of
MERGED_BELOW = 1.5  # buckets whose sizes differ by less are padded to the larger one


@dataclass(frozen=True)
class KvGroup:
    """Layers whose KV lives and is freed alike. blocks_per_request: what one request of the longest context takes."""

    kind: CacheKind
    layers: int
    block_size: int  # tokens
    page_bytes: int  # one block of one layer, on one rank
    blocks_per_request: int


@dataclass(frozen=True)
class KvLayout:
    """How a model's caches share one pool, on one rank."""

    groups: tuple[KvGroup, ...]
    block_size: int  # tokens of an attention block
    state_bytes: int  # one sequence's state in one layer, before padding; 0 without states
    page_bytes: int
    bytes_per_block: int
    scheduler_block_size: int  # hits of the prefix cache are multiples of it
    hash_block_size: int  # tokens that are hashed together
    blocks_per_request: int  # of one request of the longest context, all groups

    def num_blocks(self, memory_bytes: float) -> int:
        """Blocks of the pool in `memory_bytes`, the null block included."""
        return int(memory_bytes // self.bytes_per_block)

    def fits_one(self, memory_bytes: float) -> bool:
        """Whether one request of the longest context fits beside the null block; vLLM refuses to start where not."""
        return self.blocks_per_request * self.bytes_per_block <= memory_bytes - self.bytes_per_block

    def max_concurrency(self, memory_bytes: float) -> float:
        """Requests of the longest context that fit at once, as vLLM reports it."""
        return self.num_blocks(memory_bytes) / self.blocks_per_request


def layout(caches: Sequence[Cache], *, max_model_len: int, tokens_in_flight: int, prefix_caching: bool, draft_tokens: int = 0,
           block_size: int | None = None) -> KvLayout:
    """The groups of a model's `caches` (`simulator.model.caches.caches`, in order of layers).

    tokens_in_flight: most tokens whose steps are not settled, max_num_batched_tokens times the batches in flight (2 with
    asynchronous scheduling, the stages of a pipeline). draft_tokens: speculative tokens of a step. block_size: tokens of the
    attention kernel's block, 16 or FlashMLA's 64 where not given.
    Raises InputError for caches that vLLM's rules for one page size do not cover.
    """
    if not caches:
        raise InputError("a model without caches has no KV groups")
    if packed_otherwise(caches):
        raise InputError("an indexer's keys and compressed entries are packed by another layout, which is not modelled")
    block = _attention_block(caches, block_size)
    pages = {cache: ceil(block * cache.bytes_per_token) for cache in caches if cache.kind != "state"}
    page = max([*pages.values(), *(c.state_bytes for c in caches if not pages)])
    sizes = {cache: _block_size(cache, block, pages, page, max_model_len, prefix_caching) for cache in dict.fromkeys(caches)}
    found = []
    for cache, layers in _grouped(caches):
        tokens = sizes[cache]
        blocks = _blocks_per_request(cache, tokens, max_model_len, tokens_in_flight, prefix_caching, draft_tokens)
        found.append(KvGroup(cache.kind, layers, tokens, page, blocks))
    all_sizes = [group.block_size for group in found]
    together = lcm(*all_sizes)
    return KvLayout(groups=tuple(found), block_size=block, state_bytes=max(c.state_bytes for c in caches), page_bytes=page,
                    bytes_per_block=max(group.layers for group in found) * page, scheduler_block_size=together,
                    hash_block_size=gcd(*all_sizes) if prefix_caching else together,
                    blocks_per_request=sum(group.blocks_per_request for group in found))


def packed_otherwise(caches: Sequence[Cache]) -> bool:
    """Whether vLLM packs some of `caches` by a layout of its own, outside these rules."""
    return any(cache.kind in ("index", "compressed") for cache in caches)


def _attention_block(caches: Sequence[Cache], block_size: int | None) -> int:
    """Tokens of an attention block: the kernel's, or as many as a state needs, in steps of the kernel's."""
    latent = any(cache.kind == "latent" for cache in caches)
    least = block_size or (LATENT_BLOCK if latent else BLOCK)
    states = [cache.state_bytes for cache in caches if cache.kind == "state"]
    per_token = [cache.bytes_per_token for cache in caches if cache.kind != "state"]
    if not states or not per_token:
        return least
    unit = LATENT_UNIT if latent else BLOCK
    return max(least, unit * ceil(max(states) / (unit * max(per_token))))


def _block_size(cache: Cache, block: int, pages: dict[Cache, int], page: int, max_model_len: int, prefix_caching: bool) -> int:
    """Tokens of a block of this cache. A smaller page grows by a whole factor where it divides the largest, else is padded."""
    if cache.kind == "state":
        return block if prefix_caching and pages else max_model_len
    return block * (page // pages[cache]) if page % pages[cache] == 0 else block


def _grouped(caches: Sequence[Cache]) -> list[tuple[Cache, int]]:
    """(cache, layers) of every group: buckets of equal caches, cut into groups of the smallest bucket's size, or of the largest's
    where that is less than half as large again."""
    buckets: dict[Cache, int] = {}
    for cache in caches:
        buckets[cache] = buckets.get(cache, 0) + 1
    if len(buckets) == 1:
        return list(buckets.items())
    least, most = min(buckets.values()), max(buckets.values())
    size = most if most < MERGED_BELOW * least else least
    found = []
    for cache, layers in buckets.items():
        groups = -(-layers // size)
        found += [(cache, len(range(i, layers, groups))) for i in range(groups)]
    return found


def _blocks_per_request(cache: Cache, block: int, max_model_len: int, tokens_in_flight: int, prefix_caching: bool,
                        draft_tokens: int) -> int:
    """Blocks that one request of the longest context takes at most. Windows and chunks keep what unsettled steps may still read."""
    if cache.kind == "state":
        return (2 if prefix_caching else 1) + draft_tokens
    if cache.kind == "window":
        return ceil(min(cache.span - 1 + tokens_in_flight, max_model_len) / block) + 1
    if cache.kind == "chunk":
        return ceil(min(cache.span + tokens_in_flight, max_model_len) / block)
    return ceil(max_model_len / block)
