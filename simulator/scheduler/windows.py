"""Windows and chunks free the blocks behind them; numbers in comments are the rules on KV groups (G)."""

from __future__ import annotations

from simulator.scheduler.config import KvGroupConfig, SchedulerConfig
from simulator.scheduler.kv_blocks import blocks_for
from simulator.scheduler.speculation import reserved


def passed_blocks(group: KvGroupConfig, settled: int, reads_ahead: int = 1) -> int:
    """Leading blocks that no later token reads once `settled` tokens are computed for good (G12, states G25). A drafter that reads
    several tokens ahead computes the last of them again (not recorded; vLLM's SlidingWindowSpec.extra_retained_tokens)."""
    if group.kind == "window":
        return max(settled - group.span + 1 - (reads_ahead - 1), 0) // group.block_size
    if group.kind == "chunk":
        return settled // group.span * group.span // group.block_size
    if group.kind == "state":
        return max(settled - 1, 0) // group.block_size
    return 0


def most_blocks(group: KvGroupConfig, config: SchedulerConfig) -> int:
    """Blocks that one request ever holds at once, whatever its length (G6). Of a window or chunk its span, what steps in flight may
    still read and write, and for a window one block that it only partly covers; of a state one for each draft as well."""
    in_flight = config.batches_in_flight * config.max_num_batched_tokens
    if group.kind == "window":
        again = max(reserved(config.speculation).reads_ahead - 1, 0)
        return blocks_for(min(group.span - 1 + again + in_flight, config.max_model_len), group.block_size) + 1
    if group.kind == "chunk":
        return blocks_for(min(group.span + in_flight, config.max_model_len), group.block_size)
    if group.kind == "state":
        return (2 if config.enable_prefix_caching else 1) + config.draft_tokens
    return blocks_for(config.max_model_len, group.block_size)
