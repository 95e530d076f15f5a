"""SGLang's policy against schedules worked out by hand from its rules, and against the engine specification's check cases."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.design.records.engine import NewTokenRatio, SglangScheduler
from simulator.engine.reference import run
from simulator.engine.result import EngineResult
from simulator.scheduler.policies.sglang import Admission, Sglang
from simulator.scheduler.requests import Batch, Request
from simulator.workload.trace import Segments
from tests.engine.builders import affine_costs, config, trace
from tests.scheduler.test_policies import batches

ROOMY = {"scheduler": "sglang", "block_size": 1, "num_gpu_blocks": 100_001, "max_model_len": 20_000}


def serve(*requests: tuple[int, int, int], seqs: int = 8, tokens: int = 256, **changes: object) -> EngineResult:
    options = {name: changes.pop(name) for name in tuple(changes) if name in ("segments",)}
    limits = config(**(ROOMY | {"max_num_seqs": seqs, "max_num_batched_tokens": tokens} | changes))
    return run(trace(*requests, **options), limits, affine_costs(tokens, seqs, base=100), log=True)


def request(index: int, prompt: int, wanted: int, outputs: int = 0) -> Request:
    return Request(index, 0, prompt, wanted, 0, index, outputs)


def running(scheduler: Sglang, index: int, prompt: int, wanted: int, outputs: int) -> Request:
    """A request that decodes, as if it had come through."""
    one = request(index, prompt, wanted, outputs)
    one.computed, one.running = one.known - 1, True
    scheduler.memory.start(one, 0, None)
    scheduler.memory.take(one, scheduler.memory.wanted(one, 0))
    scheduler.channels.place(one)
    scheduler.decoding.append(one)
    return one


def test_case_24_admission_counts_a_share_of_the_outputs_to_come():
    """6,000 tokens free; ten running with 500 to go each; prompts of 2,000 with 512 outputs: 2,513 against 2,500 at ratio 0.7;
    at 0.098 against 5,510, then 2,997, then 484."""
    for ratio, admitted in ((0.7, 0), (0.098, 2)):
        scheduler = Sglang(config(**ROOMY | {"num_gpu_blocks": 6_000 + 10 * 100 + 1, "max_num_seqs": 100,
                                             "max_num_batched_tokens": 8192}), None)
        for index in range(10):
            running(scheduler, index, 1, 600, 100)
        assert scheduler.memory.free == 6_000
        scheduler.ratio = ratio
        waiting = [request(10 + k, 2_000, 512) for k in range(4)]
        adder = Admission(scheduler)
        answers = [adder.admit(one) for one in waiting[: admitted + 1]]
        assert answers == ["go on"] * admitted + ["no tokens"]
        assert round(adder.tokens_left) == {0: 2_500, 2: 484}[admitted]


def test_case_25_victims_have_the_fewest_outputs_then_the_longest_prompt_and_one_stays():
    scheduler = Sglang(config(**ROOMY | {"num_gpu_blocks": 4 + 49 + 202 + 104 + 1}), None)
    a, b, c = (running(scheduler, k, prompt, 50, outputs) for k, (outputs, prompt) in enumerate(((5, 100), (3, 50), (3, 200))))
    # 104 + 52 + 202 tokens are held; one is free, three are needed
    assert scheduler.memory.free == 1
    batch = Batch()
    assert scheduler._retract_for_room(batch)
    assert batch.preempted == [c] and scheduler.decoding == [a, b] and scheduler.waiting == [c]
    assert scheduler.ratio == min(1.0, (5 + 3 + 20 * 2) / (50 + 50 + 1))  # 2.2.8
    scheduler.memory.unused = 0
    assert scheduler._retract_for_room(batch) and batch.preempted == [c, b] and scheduler.decoding == [a]
    scheduler.memory.unused = 0
    scheduler._retract_for_room(batch)
    assert batch.preempted == [c, b] and scheduler.decoding == [a]  # the last one stays


def test_case_26_prompts_run_alone_and_a_chunk_fills_the_budget():
    result = serve(*[(0, 10, 50)] * 100, (150, 5000, 2), (150, 4000, 2), seqs=200, tokens=8192)
    steps = [{k: v for k, v in batch.items() if k >= 100} | {"decodes": sum(k < 100 for k in batch)} for batch in batches(result)]
    assert steps[1:4] == [{"decodes": 100}, {100: 5000, 101: 3192, "decodes": 0}, {101: 808, "decodes": 0}]
    assert steps[4] == {100: 1, 101: 1, "decodes": 100}


def test_with_mixed_chunk_decodes_ride_along_and_are_deducted_from_the_budget():
    result = serve((0, 10, 9), (150, 20, 2), tokens=16, sglang=SglangScheduler(mixed_chunk=True))
    assert batches(result)[1:4] == [{0: 1}, {1: 15, 0: 1}, {1: 5, 0: 1}]


def test_a_long_prompt_in_chunks_blocks_every_decode():
    result = serve((0, 4, 4), (50, 30, 2), tokens=8)
    assert batches(result)[:6] == [{0: 4}, {1: 8}, {1: 8}, {1: 8}, {1: 6}, {0: 1, 1: 1}]


def test_with_overlap_a_finish_is_seen_one_step_late():
    """2.2.10: request 0 ends with step 3, but step 4 has been launched with it; synchronously it has not."""
    plain, late = (serve((0, 4, 3), (0, 4, 6), async_scheduling=overlap) for overlap in (False, True))
    assert [list(batch) for batch in batches(plain)] == [[0, 1]] * 3 + [[1]] * 3
    assert [list(batch) for batch in batches(late)] == [[0, 1]] * 4 + [[1]] * 3  # and one for request 1's own end
    assert plain.finish_ns.tolist() == late.finish_ns.tolist() == [300, 600]


def test_the_cap_is_seen_to_have_room_a_step_after_a_finish():
    """A batch that is marked full tries no prompt until a decode step has found somebody gone (2.2.3)."""
    result = serve((0, 4, 2), (0, 4, 4), (0, 4, 2), seqs=2)
    assert batches(result) == [{0: 4, 1: 4}, {0: 1, 1: 1}, {1: 1}, {2: 4}, {1: 1, 2: 1}]


def test_the_ratio_falls_with_every_decode_step_and_starts_again_after_an_idle_time():
    """Case 23: 0.7, 0.399, 0.098, 0.098 after 0, 300, 600, 900 steps."""
    scheduler = Sglang(config(**ROOMY), None)
    running(scheduler, 0, 1, 2_000, 1)
    seen = {}
    for step in range(901):
        seen[step] = scheduler.ratio
        batch = scheduler.schedule()
        batch.end_ns = step
        scheduler.deliver(batch)
    assert [seen[step] for step in (0, 300, 600, 900)] == pytest.approx([0.7, 0.399, 0.098, 0.098])
    scheduler.decoding[0].outputs = scheduler.decoding[0].wanted
    scheduler.enqueue(Request(1, 900, 1, 1, 0, 1))  # it came before the last batch ended
    assert scheduler.ratio == pytest.approx(0.098)
    scheduler.waiting.clear()
    scheduler.enqueue(Request(2, 901, 1, 1, 0, 2))
    assert scheduler.ratio == 0.7


def test_a_retracted_request_goes_to_the_end_of_the_queue_and_computes_prompt_and_outputs_again():
    """20 tokens of pool. Request 1 needs 6 + 5 + 1 = 12 tokens when 13 are free and 6 x 0.05 spoken for. After three common
    steps one is free and two are needed: request 1 has fewer outputs. It computes 6 + 4 tokens again once 12 are free."""
    guess = NewTokenRatio(start=0.05, floor=1.0, steps=1)
    result = serve((0, 6, 8), (150, 6, 5), num_gpu_blocks=21, sglang=SglangScheduler(new_token_ratio=guess))
    assert result.preemptions.tolist() == [0, 1]
    assert batches(result) == [{0: 6}, {0: 1}, {1: 6}] + [{0: 1, 1: 1}] * 3 + [{0: 1}] * 3 + [{1: 10}]


def shared(*prompts: list[tuple[int, int, int]]) -> Segments:
    rows = np.array([piece for prompt in prompts for piece in prompt], np.int64)
    return Segments(np.cumsum([0, *map(len, prompts)]), rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].copy())


def test_a_prefix_matches_to_the_token_with_pages_of_one_and_to_the_page_with_more():
    """2.3: 37 shared tokens of 50. The second comes when the first's prompt is in the tree."""
    contents = shared([(0, 0, 37), (1_000_001, 0, 13)], [(0, 0, 37), (1_000_002, 0, 13)])
    for page, hit in ((1, 37), (4, 36), (16, 32)):
        result = serve((0, 50, 3), (150, 50, 3), block_size=page, enable_prefix_caching=True, segments=contents)
        assert result.cached_tokens.tolist() == [0, hit]
        assert batches(result)[:3] == [{0: 50}, {0: 1}, {1: 50 - hit}]


def test_a_whole_prompt_in_the_cache_still_computes_its_last_token():
    contents = shared([(0, 0, 50)], [(0, 0, 50)])
    result = serve((0, 50, 3), (150, 50, 3), enable_prefix_caching=True, segments=contents)
    assert result.cached_tokens.tolist() == [0, 49]


def test_outputs_stay_in_the_cache_and_locked_prefixes_are_not_dropped():
    """A second turn quotes prompt and answer of the first: all but the last answer token is there (its KV was never computed)."""
    contents = shared([(0, 0, 20)], [(0, 0, 20), (2_000_000, 0, 5), (1_000_001, 0, 10)])
    result = serve((0, 20, 5), (5_000, 35, 2), enable_prefix_caching=True, segments=contents)
    assert result.cached_tokens.tolist() == [0, 24]


def test_the_longest_prefix_goes_first_and_a_prefix_shared_with_one_before_waits():
    """2.2.4: request 0 puts prefix 0 into the cache and keeps the only place; 1 has nothing cached, 2 has 40 tokens; 3 and 4 share
    40 tokens that nobody has, so 4 goes last."""
    contents = shared([(0, 0, 40)], [(1_000_001, 0, 60)], [(0, 0, 40), (1_000_002, 0, 20)], [(1, 0, 40), (1_000_003, 0, 20)],
                      [(1, 0, 40), (1_000_004, 0, 20)])
    arrivals = ((0, 40, 5), *((10 + k, 60, 1) for k in range(4)))
    for policy, order in (("fcfs", [0, 1, 2, 3, 4]), ("lpm", [0, 2, 1, 3, 4])):
        result = serve(*arrivals, seqs=1, enable_prefix_caching=True, segments=contents, policy=policy)
        assert np.argsort(result.first_scheduled_ns, kind="stable").tolist() == order
    result = serve(*arrivals, seqs=1, enable_prefix_caching=True, segments=contents, policy="lpm",
                   sglang=SglangScheduler(longest_prefix_queue=3))
    # with four waiting it is arrival order; once three wait, the longest prefix
    assert np.argsort(result.first_scheduled_ns, kind="stable").tolist() == [0, 1, 2, 3, 4]


def test_longest_output_first():
    result = serve((0, 4, 9), (10, 4, 2), (10, 4, 5), (10, 4, 3), seqs=1, policy="lof")
    assert np.argsort(result.first_scheduled_ns, kind="stable").tolist() == [0, 2, 3, 1]
