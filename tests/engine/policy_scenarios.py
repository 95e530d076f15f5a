"""Random scenarios for SGLang's and TensorRT-LLM's policies, and what must hold of any of their runs.

`policy_scenario(scheduler, seed)` is the same scenario at every call: an engine that is said to do the same as the reference
engine is compared on as many seeds as one likes (`tests.engine.test_policies`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from simulator.design.records.engine import BatchWait, NewTokenRatio, SglangScheduler, TrtllmScheduler
from simulator.engine.result import EngineResult
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.limits import served_outputs
from simulator.scheduler.policies.sglang import Sglang
from simulator.scheduler.policies.tensorrt_llm import TensorRtLlm
from simulator.scheduler.requests import Batch, Request
from tests.engine.scenarios import Integer, Scenario, draw_costs, draw_trace


def policy_scenario(scheduler: str, seed: int, most: int = 40) -> Scenario:
    """The scenario of a seed; every fourth is a closed loop."""
    rng = np.random.default_rng([seed, len(scheduler)])

    def integer(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    def choose(*options: Any) -> Any:
        return options[integer(0, len(options) - 1)]

    n, length = integer(1, most), choose(8, 20, 60, 200)
    config = _config(integer, choose, length, scheduler)
    trace = draw_trace(integer, choose, n, length)
    if seed % 4 == 0:
        trace = replace(trace, arrival_ns=np.zeros(n, np.int64), concurrency=integer(1, 12))
    return Scenario(trace, config, draw_costs(integer, choose, config))


def _config(integer: Integer, choose: Any, length: int, scheduler: str) -> SchedulerConfig:
    block, longest = choose(1, 1, 4, 16), max(length + integer(-4, 4), 4)
    least = -(-longest // block) + 2
    pages = choose(least, least + 1, least + integer(0, 2 * least), least + integer(0, 2 * least), least * 20)
    sequences, chunked = choose(1, 2, 3, 8, 16), bool(integer(0, 3))
    budget = max(sequences, choose(sequences, sequences + 1, 8, 17, 64, 256), block)
    own: dict[str, Any] = {}
    if scheduler == "sglang":
        ratio = NewTokenRatio(start=choose(0.05, 0.3, 0.7, 1.0), floor=choose(0.14, 0.5), steps=choose(1, 10, 600),
                              retract_steps=choose(1, 20))
        own["sglang"] = SglangScheduler(mixed_chunk=chunked and bool(integer(0, 1)), longest_prefix_queue=choose(2, 128),
                                        clip_max_new_tokens=choose(5, 4096), new_token_ratio=ratio)
        own |= {"policy": choose("fcfs", "fcfs", "lpm", "dfs-weight", "lof"), "max_prefill_tokens": choose(longest, 16384)}
    else:
        unit = choose(1, 4, 8)
        own["tensorrt_llm"] = TrtllmScheduler(
            capacity=choose("guaranteed_no_evict", "max_utilization"), chunking=choose("fcfs", "equal_progress"),
            chunk_unit=unit, batch_wait=BatchWait(timeout_iterations=choose(0, 0, 3, 40), ratio=choose(0.0, 0.5, 1.0)))
        budget = max(budget, unit)
    return SchedulerConfig(
        max_num_seqs=sequences, max_num_batched_tokens=budget if chunked else max(budget, longest), block_size=block,
        num_gpu_blocks=pages + 1, max_model_len=longest, enable_chunked_prefill=chunked,
        enable_prefix_caching=bool(integer(0, 2)), async_scheduling=bool(integer(0, 1)), scheduler=scheduler, **own)


def features(scenario: Scenario, result: EngineResult) -> list[str]:
    """What a scenario exercises."""
    config, trace = scenario.config, scenario.trace
    log = result.log
    assert log is not None
    preempted, cached = result.preemptions.sum() > 0, result.cached_tokens.sum() > 0
    chunks = bool((np.bincount(log.batch_request[log.batch_new_tokens > 1], minlength=1) > 1).any())
    found = {
        "overlap": config.async_scheduling, "chunks": chunks, "whole prompts": not config.enable_chunked_prefill,
        "preempted": preempted, "cached": cached, "cached and preempted": cached and preempted,
        "cached, preempted, overlap": cached and preempted and config.async_scheduling,
        "closed loop": trace.concurrency > 0, "channels": scenario.costs.channels > 0, "pages": config.block_size > 1,
        "rejected": bool((result.finish_ns < 0).any()),
    }
    if config.scheduler == "sglang":
        found |= {"mixed chunk": config.sglang.mixed_chunk, **{name: config.policy == name for name in ("lpm", "dfs-weight", "lof")}}
    else:
        found |= {"max utilization": config.tensorrt_llm.capacity == "max_utilization",
                  "held back": config.tensorrt_llm.batch_wait.timeout_iterations > 0,
                  "equal progress": chunks and config.tensorrt_llm.chunking == "equal_progress"}
    return [name for name, holds in found.items() if holds]


class WatchedSglang(Sglang):
    """Checks after every action that no page is lost, taken twice or held by nobody."""

    def schedule(self) -> Batch:
        batch = super().schedule()
        self._check()
        alone = [entry.request for entry in batch.entries] == self.last
        assert alone or not self.last or self.options.mixed_chunk  # prompts run alone (2.2.2)
        return batch

    def deliver(self, batch: Batch) -> list[Request]:
        receivers = super().deliver(batch)
        self._check()
        return receivers

    def _check(self) -> None:
        memory, running = self.memory, {request.index for request in self.running}
        assert memory.held.keys() == running
        assert not running & {request.index for request in self.waiting}
        assert len(running) <= self.config.max_num_seqs
        in_tree = locked = 0
        if memory.tree is not None:
            locks: Counter[int] = Counter()
            for held in memory.held.values():
                node = held.node
                depth = 0
                while node is not None and node.parent is not None:
                    locks[node.number] += 1
                    depth += len(node.key)
                    node = node.parent
                assert depth == held.cached
            stack = [memory.tree.root]
            while stack:
                node = stack.pop()
                stack += node.children.values()
                assert node.locks == locks[node.number] + (node.parent is None)
                in_tree += len(node.key)
                locked += len(node.key) if node.locks and node.parent is not None else 0
            assert memory.tree.evictable == in_tree - locked
        assert memory.unused >= 0 and all(held.own >= 0 for held in memory.held.values())
        assert memory.unused + in_tree + sum(held.own for held in memory.held.values()) == len(memory.users)
        for request in self.running:
            held = memory.held[request.index]
            assert (held.cached + held.own) * self.page >= request.computed


class WatchedTensorRtLlm(TensorRtLlm):
    """Checks after every action that no block is lost, and that what is guaranteed is kept."""

    def schedule(self) -> Batch:
        batch = super().schedule()
        self._check()
        if self.options.capacity == "guaranteed_no_evict":
            promised = sum(self._blocks(request.prompt + request.wanted) - len(self.held[request.index].blocks)
                           for request in self.running)
            assert promised <= self.pool.free and not batch.preempted
        return batch

    def deliver(self, batch: Batch) -> list[Request]:
        receivers = super().deliver(batch)
        self._check()
        return receivers

    def _check(self) -> None:
        assert self.held.keys() == {request.index for request in self.running}
        held = Counter(block for one in self.held.values() for block in one.blocks)
        assert held == Counter({block: users for block, users in enumerate(self.pool.users) if users})
        free = [*self.pool.blank, *self.pool.idle]
        assert len(free) == len(set(free)) == len(self.pool.users) - len(held) and not held.keys() & set(free)
        assert len(self.running) <= self.config.max_num_seqs
        for queue in (self.running, self.waiting):
            assert [request.index for request in queue] == sorted(request.index for request in queue)
        for request in self.running:
            assert len(self.held[request.index].blocks) >= self._blocks(request.computed)


WATCHED = {"sglang": WatchedSglang, "tensorrt_llm": WatchedTensorRtLlm}


def check(scenario: Scenario, result: EngineResult) -> None:
    """Asserts what holds of any run: every request is served once and wholly, in causal order, within the limits."""
    trace, config = scenario.trace, scenario.config
    log = result.log
    assert log is not None
    prompt, outputs = trace.prompt_tokens.astype(int), served_outputs(trace, config)
    served, usable = outputs > 0, config.num_gpu_blocks - 1
    for times in (result.first_scheduled_ns, result.first_token_ns, result.finish_ns):
        assert (times[~served] == -1).all() and (times[served] >= 0).all()
    assert (result.first_scheduled_ns <= result.first_token_ns).all() and (result.first_token_ns <= result.finish_ns).all()
    assert trace.concurrency or (trace.arrival_ns <= result.first_scheduled_ns)[served].all()
    assert (np.diff(log.scheduled_ns) >= 0).all() and (log.start_ns <= log.end_ns).all()
    assert (log.tokens <= config.max_num_batched_tokens).all() and (log.running <= config.max_num_seqs).all()
    assert ((log.free_blocks >= 0) & (log.free_blocks <= usable)).all()
    # since its last admission a request was computed up to its last token but one; a step more where its end is seen late
    computed = np.zeros(len(trace), int)
    admissions: dict[int, list[tuple[int, int]]] = {}
    for step, request, hit in log.admissions.tolist():
        admissions.setdefault(step, []).append((request, hit))
    ends = np.cumsum(log.n)
    for step, (end, n) in enumerate(zip(ends.tolist(), log.n.tolist(), strict=True)):
        for request, hit in admissions.get(step, []):
            assert hit < prompt[request] + outputs[request]
            computed[request] = hit
        batch = slice(end - n, end)
        assert len(set(log.batch_request[batch].tolist())) == n and (log.batch_new_tokens[batch] >= 1).all()
        assert log.batch_new_tokens[batch].sum() == log.tokens[step]
        computed[log.batch_request[batch]] += log.batch_new_tokens[batch]
    late = computed - (prompt + outputs - 1)
    assert ((late[served] >= 0) & (late[served] <= (1 if config.async_scheduling else 0))).all()
    assert (computed[~served] == 0).all()
    assert (np.bincount(log.preempted[:, 1], minlength=len(trace)) == result.preemptions).all()
    assert len(log.admissions) == served.sum() + result.preemptions.sum()
