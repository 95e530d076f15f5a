"""The KV cache of a replica: one pool of blocks, a table per request and KV group, and the prefix cache over them."""

from __future__ import annotations

from math import gcd, lcm

from simulator.scheduler import prefix_cache
from simulator.scheduler.block_tables import NULL, BlockTable, slots
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_blocks import BlockPool
from simulator.scheduler.prefix_cache import Hit
from simulator.scheduler.requests import Request
from simulator.scheduler.speculation import reserved
from simulator.scheduler.windows import most_blocks, passed_blocks
from simulator.workload.block_identities import BlockIdentities


def hash_unit(config: SchedulerConfig) -> int:
    """Tokens of the blocks whose identities the prefix cache works with (G8)."""
    return gcd(*(group.block_size for group in config.groups))


class KvCache:
    """State and rules. `identities`: of blocks of `hash_unit` tokens; None: no prefix caching.

    Every block serves any group; what groups need is added up, the free blocks are common (G11).
    """

    def __init__(self, config: SchedulerConfig, identities: BlockIdentities | None) -> None:
        self.config, self.identities, self.groups = config, identities, config.groups
        self.pool = BlockPool(config.num_gpu_blocks - 1)
        self.hash_unit = hash_unit(config)
        self.unit = lcm(*(group.block_size for group in self.groups))  # hits and, with several groups, published tokens (G8)
        self.kinds = prefix_cache.kinds_of(self.groups)
        self.most = [most_blocks(group, config) for group in self.groups]
        interval = config.prefix_cache_retention_interval
        self.interval = self.unit if interval is None else interval
        reads = reserved(config.speculation)
        self.drops_last, self.reads_ahead = reads.drops_last, max(reads.reads_ahead, 1)
        self.computing: set[int] = set()  # states that this pass computes: nobody may go on from equal ones in it (G28)

    def keeps_states(self) -> bool:
        """Whether chunks must end where a state can be kept (G24)."""
        return self.identities is not None and any(group.kind == "state" for group in self.groups)

    def find(self, request: Request) -> Hit:
        """What the prefix cache holds of its known tokens (11)."""
        if self.identities is None:
            return Hit(0, 0, [[] for _ in self.groups])
        known = self.identities.first(request.index, request.known // self.hash_unit)

        def cached(kind: int, position: int) -> list[int] | None:
            group, members = self.kinds[kind]
            identity = known[(position + 1) * group.block_size // self.hash_unit - 1]
            blocks = []
            for member in members:
                block = self.pool.cached(self._content(identity, member))
                if block is None:
                    return None
                blocks.append(block)
            return blocks

        return prefix_cache.longest_hit(self.kinds, cached, request.known, self.unit, self.drops_last)

    def is_being_computed(self, hit: Hit) -> bool:
        """Whether a state of the hit is computed in this very pass."""
        return any(group.kind == "state" and table and self.pool.content[table[-1]] in self.computing
                   for group, table in zip(self.groups, hit.tables, strict=True))

    def lacking(self, tables: list[list[int]], tokens: int, *, at_once: bool = False) -> int:
        """Blocks that these tables lack to cover `tokens`, all groups together. A state group takes one block at most: that of the
        last token (G25). at_once: as if all tokens were to be covered in one step, of which windows hold only a part (G14)."""
        total = 0
        for number, (group, blocks) in enumerate(zip(self.groups, tables, strict=True)):
            wanted = slots(group, tokens, self.config)
            if at_once and group.kind in ("window", "chunk"):
                wanted = min(wanted, self.most[number])
            short = max(wanted - len(blocks), 0)
            total += min(short, 1) if group.kind == "state" and self.identities is not None else short
        return total

    def idle_in(self, hit: Hit) -> int:
        """Blocks of the hit that nobody uses: they count as free, and taking them back lowers that."""
        return sum(self.pool.idle_among([block for block in table if block != NULL]) for table in hit.tables)

    def start(self, request: Request, hit: Hit) -> None:
        """Gives a request the tables of its hit."""
        request.tables = [BlockTable(blocks, blocks.count(NULL), len(blocks)) for blocks in hit.tables]
        for table in request.tables:
            self.pool.share(table.held())

    def free_passed(self, request: Request) -> None:
        """Frees the blocks behind windows, chunks and states, the last of them first (G12, G25). Only tokens of steps that have
        ended count: a step in flight may still read them, and a rejected draft moves its request back."""
        for group, table in zip(self.groups, request.tables, strict=True):
            settled = request.computed - request.tokens_in_flight
            passed = min(passed_blocks(group, settled, self.reads_ahead), len(table.blocks))
            if passed > table.freed:
                leaving = table.blocks[table.freed: passed]
                self.pool.release(block for block in reversed(leaving) if block != NULL)
                table.blocks[table.freed: passed] = [NULL] * len(leaving)
                table.freed = passed

    def extend(self, request: Request, tokens: int) -> None:
        """Takes the blocks that `lacking` counted."""
        for group, table in zip(self.groups, request.tables, strict=True):
            short = slots(group, tokens, self.config) - len(table.blocks)
            if short > 1 and group.kind == "state" and self.identities is not None:
                table.blocks += [NULL] * (short - 1)
                short = 1
            table.blocks += self.pool.take(max(short, 0))

    def publish(self, request: Request, tokens: int) -> None:
        """Offers the blocks that the first `tokens` tokens have filled to the prefix cache, each once (17, G20 to G22, G31)."""
        if self.identities is None:
            return
        common = tokens // self.unit * self.unit
        limits = [common] * len(self.groups)
        if self.drops_last and common:
            settled = max(tokens - self.reads_ahead + 1, 0)  # S7
            limits = [min(settled, settled // self.unit * self.unit + group.block_size) for group in self.groups]
        if all(limit // group.block_size <= table.published
               for limit, group, table in zip(limits, self.groups, request.tables, strict=True)):
            self._note_last_state(request, common)
            return
        known = self.identities.first(request.index, max(limits) // self.hash_unit)
        points = [] if self.config.prefix_cache_retention_interval is None else prefix_cache.resume_points(
            request.prompt, request.junction, self.unit, self.drops_last)
        for number, (limit, group, table) in enumerate(zip(limits, self.groups, request.tables, strict=True)):
            for position in range(table.published, limit // group.block_size):
                block = table.blocks[position]
                if block != NULL and prefix_cache.is_kept(group, position, points, self.interval, self.drops_last):
                    identity = known[(position + 1) * group.block_size // self.hash_unit - 1]
                    self.pool.publish(block, self._content(identity, number))
                    if group.kind == "state":
                        self.computing.add(self._content(identity, number))
            table.published = max(table.published, limit // group.block_size)
        self._note_last_state(request, common)

    def release(self, request: Request) -> None:
        """Gives back all blocks: group by group, each from last to first, so that tails are reused before heads (16, G15)."""
        for table in request.tables:
            self.pool.release(reversed(table.held()))
        request.tables = []

    def held(self, requests: list[Request]) -> list[int]:
        """Real blocks in the tables of `requests`, per group."""
        return [sum(len(request.tables[number].held()) for request in requests) for number in range(len(self.groups))]

    def _note_last_state(self, request: Request, filled: int) -> None:
        """The state at the prompt's own last boundary counts as under computation as long as its request has not filled the next
        block (G28)."""
        assert self.identities is not None
        for number, (group, table) in enumerate(zip(self.groups, request.tables, strict=True)):
            if group.kind == "state":
                position = (request.prompt - 1) // group.block_size - 1
                if position >= 0 and filled // group.block_size == position + 1 and table.blocks[position] != NULL:
                    identity = self.identities.first(request.index, filled // self.hash_unit)[-1]
                    self.computing.add(self._content(identity, number))

    def _content(self, identity: int, group: int) -> int:
        """What a block of a group holds, in one number (G17)."""
        return identity * len(self.groups) + group
