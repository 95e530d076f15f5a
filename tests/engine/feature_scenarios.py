"""Random scenarios with several KV groups and speculation, for engines to be compared on: every shape, kind and method.

As `scenarios`: `feature_scenarios()` is a hypothesis strategy, `random_feature_scenario(seed)` draws the same kind without hypothesis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import lcm
from typing import Any

import numpy as np
from hypothesis import strategies as st

from simulator.scheduler.acceptance import DrawnAcceptance, RecordedAcceptance
from simulator.scheduler.config import KvGroupConfig, SchedulerConfig, SpeculationConfig
from simulator.scheduler.kv_blocks import blocks_for
from simulator.scheduler.speculation import METHODS, SYNCHRONOUS, reserved
from simulator.scheduler.windows import most_blocks
from tests.engine.scenarios import Integer, Scenario, draw_config, draw_costs, draw_trace

SHAPES = ("one full", "one window", "full and windows", "two windows", "chunks", "two sizes", "states", "kept states")
GROUPS_ONLY, SPECULATION_ONLY, BOTH = "groups", "speculation", "both"


def feature_scenarios(parts: tuple[str, ...] = (GROUPS_ONLY, SPECULATION_ONLY, BOTH), most: int = 16) -> st.SearchStrategy[Scenario]:
    """Scenarios of up to `most` requests with one of `parts`."""
    @st.composite
    def strategy(draw: Any) -> Scenario:
        return build(lambda low, high: draw(st.integers(low, high)), parts, most)
    return strategy()


def random_feature_scenario(seed: int, parts: tuple[str, ...] = (GROUPS_ONLY, SPECULATION_ONLY, BOTH), most: int = 40) -> Scenario:
    """The scenario of a seed."""
    rng = np.random.default_rng(seed)
    return build(lambda low, high: int(rng.integers(low, high + 1)), parts, most)


def build(integer: Integer, parts: tuple[str, ...], most: int) -> Scenario:
    """Draws a scenario from `integer(low, high)`."""
    def choose(*options: Any) -> Any:
        return options[integer(0, len(options) - 1)]

    n = integer(1, most)
    length = choose(20, 60, 200)
    config = draw_config(integer, choose, length, ("vllm_v1",), ("recompute",))
    part = choose(*parts)
    shape = "one full" if part == SPECULATION_ONLY else choose(*SHAPES)
    if part != GROUPS_ONLY:
        config = with_speculation(integer, choose, config, n, shape)
    if part != SPECULATION_ONLY:
        config = with_groups(integer, choose, config, shape)
    # enough for one longest request, tight or roomy
    least = sum(min(blocks_for(config.max_model_len, group.block_size) + (config.draft_tokens if group.kind == "state" else 0),
                    most_blocks(group, config) + blocks_for(reserved(config.speculation).lookahead, group.block_size))
                for group in config.groups)
    config = replace(config, num_gpu_blocks=1 + least + choose(0, 1, integer(0, least), integer(0, least), 20 * least))
    trace, costs = draw_trace(integer, choose, n, length), draw_costs(integer, choose, config)
    if config.speculation:
        if trace.segments is None and trace.prompt_ids is None and integer(0, 1):  # of one token, which is padded
            trace = replace(trace, prompt_tokens=np.where(np.arange(n) % 3 == 1, 1, trace.prompt_tokens).astype(np.int32))
        rng = np.random.default_rng(integer(0, 1000))
        if integer(0, 1):
            costs = replace(costs, verify_ns=np.sort(rng.uniform(0, 6000, costs.decode_ns.shape)))
        if integer(0, 1):
            costs = replace(costs, draft_tokens_ns=rng.integers(0, 900, config.max_num_batched_tokens + 1),
                            draft_sequences_ns=rng.integers(0, 900, config.max_num_seqs + 1))
    return Scenario(trace, config, costs)


def with_groups(integer: Integer, choose: Callable[..., Any], config: SchedulerConfig, shape: str) -> SchedulerConfig:
    """A shape of groups, and limits that go with it."""
    block, longest = config.block_size, config.max_model_len
    if shape == "kept states":
        config = replace(config, enable_prefix_caching=True, enable_chunked_prefill=True)
    if shape == "states":
        config = replace(config, enable_prefix_caching=False)

    def window(size: int = block) -> KvGroupConfig:
        return KvGroupConfig("window", size, max(choose(8, size, size + 1, 3 * size, longest), 8))

    full, first, chunk = KvGroupConfig("full", block), window(), KvGroupConfig("chunk", block, block * choose(2, 5) if block > 1 else 16)
    state = KvGroupConfig("state", block if shape == "kept states" else longest)
    groups = {
        "one full": (full,),
        "one window": (first,),
        "full and windows": choose((first, full), (first, first, full), (full, first)),
        "two windows": choose((full, first, window()), (first, window()), (full, first, window(), first)),
        "chunks": (chunk,) * integer(1, 3) + (full,),
        "two sizes": choose((full, window(2 * block)), (KvGroupConfig("full", 2 * block), first),
                            (KvGroupConfig("full", 4 * block), first, window()), (full, window(4 * block), first)),
        "states": (full,) + (state,) * integer(1, 3),
        "kept states": choose((full, state), (state, full), (full, state, state)),
    }[shape]
    unit = lcm(*(group.block_size for group in groups))
    interval = choose(0, 0, None, unit, 3 * unit) if any(group.kind in ("window", "state") for group in groups) else choose(0, None)
    return replace(config, kv_groups=groups, prefix_cache_retention_interval=interval)


def with_speculation(integer: Integer, choose: Callable[..., Any], config: SchedulerConfig, n: int, shape: str) -> SchedulerConfig:
    """A method that goes with a shape of groups, and limits that go with it."""
    methods = tuple(m for m in METHODS if m not in ("suffix", "medusa", "eagle3"))  # as ngram, ngram and eagle
    if shape == "chunks":
        methods = ("ngram", "draft_model")
    if shape == "kept states":
        return config  # refused beside speculation
    method, k = choose(*methods), integer(1, 5)
    if integer(0, 1):
        drops = [float(integer(60, 100)) / 100 for _ in range(k)]
        acceptance: DrawnAcceptance | RecordedAcceptance = DrawnAcceptance(tuple(np.cumprod(drops).tolist()), integer(0, 1000))
    else:
        proposed = tuple(tuple(integer(0, k) for _ in range(integer(1, 4))) for _ in range(n)) if method == "ngram" else None
        acceptance = RecordedAcceptance(tuple(tuple(integer(0, k) for _ in range(integer(1, 6))) for _ in range(n)), proposed)
    modules = choose(1, 2, 4) if method == "mtp" and not config.enable_prefix_caching else 1
    parallel = method in ("eagle", "mtp", "draft_model") and bool(integer(0, 1))
    speculation = SpeculationConfig(method, k, acceptance, modules, parallel)
    least = reserved(speculation).drafting + max(reserved(speculation).reads_ahead, 1 + k)
    if not config.enable_chunked_prefill:  # beside its tokens a resumed request pays for the drafter, too
        least = max(least, config.max_model_len + reserved(speculation).drafting)
    threshold = config.long_prefill_token_threshold
    return replace(config, speculation=speculation, async_scheduling=config.async_scheduling and method not in SYNCHRONOUS,
                   max_num_batched_tokens=max(config.max_num_batched_tokens, least),
                   max_model_len=max(config.max_model_len, k + 2), long_prefill_token_threshold=threshold and max(threshold, k + 1))
