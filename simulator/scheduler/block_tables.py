"""The block table of a request in one KV group, and how long it must be."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.scheduler.config import KvGroupConfig, SchedulerConfig
from simulator.scheduler.kv_blocks import blocks_for

NULL = -1  # a slot without a block: its tokens are read no more


@dataclass(slots=True)
class BlockTable:
    """Block j holds the tokens from j * block_size on. Freed and passed-over slots stay in the table as NULL."""

    blocks: list[int] = field(default_factory=list)
    freed: int = 0  # all slots before it are null
    published: int = 0  # leading slots that have been offered to the prefix cache

    def held(self) -> list[int]:
        """The real blocks, from first to last."""
        return [block for block in self.blocks[self.freed:] if block != NULL]


def slots(group: KvGroupConfig, tokens: int, config: SchedulerConfig) -> int:
    """Slots of a table that covers `tokens`. Without prefix caching a state takes one block, and one for each draft that it may
    have to go back by (16)."""
    if group.kind == "state" and not config.enable_prefix_caching:
        return 1 + config.draft_tokens
    return blocks_for(tokens, group.block_size)
