"""Random scenarios for both engines: every mode and the pathological ones, small enough to run thousands.

`scenarios()` is a hypothesis strategy (shrinks to a readable case); `random_scenario(seed)` draws the same kind
without hypothesis, for long campaigns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from simulator.engine.result import EngineResult
from simulator.pricing.step import BEST, CONCURRENT, INTERLEAVED, SERIAL, StepCosts
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.limits import WHOLE_PROMPTS
from simulator.workload.trace import OUTPUT_STREAM, PRIVATE_STREAM, Segments, Trace

Integer = Callable[[int, int], int]


class Scenario(NamedTuple):
    trace: Trace
    config: SchedulerConfig
    costs: StepCosts


def outcome(run: Callable[..., EngineResult], scenario: Scenario, **options: Any) -> EngineResult | str:
    """What an engine makes of a scenario: its result, or the text of the livelock it reports.

    Only requests that tie in priority and arrival can preempt each other for ever (see
    `simulator.scheduler.limits.most_idle_preemptions`); any other error passes through.
    """
    try:
        return run(*scenario, **options)
    except RuntimeError as error:
        ties = len(np.unique(scenario.trace.arrival_ns)) < len(scenario.trace)
        if "livelock" in str(error) and scenario.config.policy == "priority" and ties:
            return str(error)
        raise


def scenarios(schedulers: Sequence[str] = ("vllm_v1",), preemptions: Sequence[str] = ("recompute", "swap"),
              most: int = 16) -> st.SearchStrategy[Scenario]:
    """Scenarios of up to `most` requests under one of `schedulers`."""
    @st.composite
    def strategy(draw: Any) -> Scenario:
        return build(lambda low, high: draw(st.integers(low, high)), schedulers, preemptions, most)
    return strategy()


def random_scenario(seed: int, schedulers: Sequence[str] = ("vllm_v1",),
                    preemptions: Sequence[str] = ("recompute", "swap"), most: int = 40) -> Scenario:
    """The scenario of a seed."""
    rng = np.random.default_rng(seed)
    return build(lambda low, high: int(rng.integers(low, high + 1)), schedulers, preemptions, most)


def build(integer: Integer, schedulers: Sequence[str], preemptions: Sequence[str], most: int) -> Scenario:
    """Draws a scenario from `integer(low, high)`."""
    def choose(*options: Any) -> Any:
        return options[integer(0, len(options) - 1)]

    n = integer(1, most)
    length = choose(8, 20, 60, 200)
    config = draw_config(integer, choose, length, schedulers, preemptions)
    return Scenario(draw_trace(integer, choose, n, length), config, draw_costs(integer, choose, config))


def draw_config(integer: Integer, choose: Callable[..., Any], length: int, schedulers: Sequence[str],
                preemptions: Sequence[str]) -> SchedulerConfig:
    scheduler, block = choose(*schedulers), choose(1, 2, 4, 16)
    max_model_len = max(length + integer(-4, 4), 4)
    least = -(-max_model_len // block)  # blocks of one longest sequence
    usable = {
        "one block short of it": max(least - 1, 1),
        "one sequence": least,
        "one block over": least + 1,
        "tight": least + integer(0, 2 * least),
        "roomy": least * 20,
    }[choose("one block short of it", "one sequence", "one block over", "tight", "tight", "tight", "roomy")]
    if scheduler == "orca":
        usable = max(usable, least)
    chunked = scheduler not in WHOLE_PROMPTS and bool(integer(0, 3))
    sequences = choose(1, 2, 3, 8, 16)
    budget = max(sequences, choose(sequences, sequences + 1, 8, 17, 64, 256))
    stages = choose(1, 1, 1, 2, 3, 4)
    return SchedulerConfig(
        max_num_seqs=sequences,
        max_num_batched_tokens=budget if chunked else max(budget, max_model_len),
        block_size=block,
        num_gpu_blocks=usable + 1,
        max_model_len=max_model_len,
        enable_chunked_prefill=chunked,
        enable_prefix_caching=bool(integer(0, 1)),
        long_prefill_token_threshold=0 if scheduler in WHOLE_PROMPTS else choose(0, 0, 1, max_model_len // 3),
        policy=choose("fcfs", "fcfs", "priority"),
        async_scheduling=stages == 1 and bool(integer(0, 1)),
        pipeline_parallel_size=stages,
        scheduler_reserve_full_isl=bool(integer(0, 1)),
        watermark=choose(0.0, 0.0, 0.05, 0.4),
        scheduler=scheduler,
        preemption=choose(*preemptions),
    )


def draw_trace(integer: Integer, choose: Callable[..., Any], n: int, length: int) -> Trace:
    arrivals = {
        "at once": [0] * n,
        "bursts": [integer(0, 3) * 20_000 for _ in range(n)],
        "steady": [integer(0, 500) * i for i in range(n)],
        "sparse": [integer(0, 50_000) * i for i in range(n)],
    }[choose("at once", "bursts", "steady", "sparse")]
    longest = choose(length // 2, length, 2 * length)  # of a prompt: fits, may fit, may never fit
    answers = choose(1, 2, length // 2, length)
    priority = np.array([integer(0, 2) for _ in range(n)], np.int32) if integer(0, 1) else None
    content = choose("private", "private", "shared prefixes", "chat", "token ids")
    prompts = [integer(1, max(longest, 1)) for _ in range(n)]
    outputs = [integer(1, max(answers, 1)) for _ in range(n)]
    segments = ids = offsets = None
    if content in ("shared prefixes", "chat"):
        pieces = draw_pieces(integer, prompts, outputs, content == "chat")
        prompts = [sum(piece[2] for piece in request) for request in pieces]
        rows = np.array([piece for request in pieces for piece in request], np.int64)
        segments = Segments(np.cumsum([0, *map(len, pieces)]), rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].copy())
    elif content == "token ids":
        offsets = np.cumsum([0, *prompts])
        ids = np.array([integer(0, 1) if k < 3 else 7 for size in prompts for k in range(size)], np.int32)
    return Trace(np.sort(np.array(arrivals, np.int64)), np.array(prompts, np.int32), np.array(outputs, np.int32),
                 priority, segments, ids, offsets)


def draw_pieces(integer: Integer, prompts: list[int], outputs: list[int], chat: bool) -> list[list[tuple[int, int, int]]]:
    """Per request its segments (stream, start, length): one of two shared streams, maybe an earlier request and what
    it was answered, then private tokens."""
    pieces: list[list[tuple[int, int, int]]] = []
    for i, prompt in enumerate(prompts):
        shared = integer(0, prompt)
        request = [(integer(0, 1), 0, shared)] if shared else []
        if chat and i and integer(0, 1):
            earlier = integer(0, i - 1)
            request = [*pieces[earlier], (OUTPUT_STREAM + earlier, 0, outputs[earlier])]
        if prompt > shared or not request:
            request.append((PRIVATE_STREAM + i, 0, max(prompt - shared, 1)))
        pieces.append(request)
    return pieces


def draw_costs(integer: Integer, choose: Callable[..., Any], config: SchedulerConfig) -> StepCosts:
    """Tables that are unlike in every cell, so that a wrong look-up shows."""
    rng = np.random.default_rng(integer(0, 1000))
    tokens, sequences, stages = (config.max_num_batched_tokens + 1, config.max_num_seqs + 1,
                                 config.pipeline_parallel_size)
    contexts = np.unique(np.r_[0.0, np.sort(rng.integers(1, config.max_model_len + 2, 4))])
    chunks = np.unique(np.r_[1.0, np.sort(rng.integers(2, tokens + 2, 3))])
    channels = choose(0, 0, 0, 2, 4)
    overlap = choose(SERIAL, SERIAL, CONCURRENT, INTERLEAVED, BEST)
    beside = np.unique(np.r_[2.0, np.sort(rng.integers(2, tokens + 2, 2))]) if choose(0, 1) else None
    return StepCosts(
        linear_ns=np.sort(rng.integers(0, 3000, tokens)),
        decode_ns=np.sort(rng.uniform(0, 4000, (sequences, len(contexts)))),
        decode_spread_ns=rng.uniform(0, 50, sequences) * choose(0, 1),
        channels=channels, channel_request_ns=float(rng.uniform(0, 300)), channel_token_ns=float(rng.uniform(0, 30)),
        # a product of rising axes stays positive beyond the last knots
        prefill_ns=np.sort(rng.uniform(0, 60, len(chunks)))[:, None] * np.sort(rng.uniform(0, 60, len(contexts))),
        chunk_knots=chunks, context_knots=contexts,
        stage_layers=rng.integers(1, 5, stages),
        stage_tokens_ns=rng.integers(0, 500, (stages, tokens)),
        stage_sequences_ns=rng.integers(0, 500, (stages, sequences)),
        host_ns=rng.integers(0, 2000, sequences) * choose(0, 0, 1),
        overlap=overlap,
        half_before_ns=rng.integers(0, 1500, tokens) if overlap >= INTERLEAVED else None,
        half_after_ns=rng.integers(0, 1500, tokens) if overlap >= INTERLEAVED else None,
        swap_block_ns=choose(0, 700),
        beside_knots=beside,
        beside_ns=None if beside is None else rng.uniform(0, 6000, (len(beside), sequences, len(contexts))),
        beside_spread_ns=None if beside is None else rng.uniform(0, 50, sequences) * choose(0, 1),
    )
