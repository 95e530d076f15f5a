"""TensorRT-LLM's policy against schedules worked out by hand from its rules, and the engine specification's check cases."""

from __future__ import annotations

import pytest

from simulator.design.records.engine import BatchWait, TrtllmScheduler
from simulator.engine.reference import run
from simulator.engine.result import EngineResult
from simulator.scheduler.policies.tensorrt_llm import evenly, in_turn
from simulator.scheduler.requests import Request
from tests.engine.builders import affine_costs, config, trace
from tests.scheduler.test_policies import batches
from tests.scheduler.test_sglang import shared

ROOMY = {"scheduler": "tensorrt_llm", "block_size": 32, "num_gpu_blocks": 10_001, "max_model_len": 20_000,
         "enable_chunked_prefill": False}


def serve(*requests: tuple[int, int, int], seqs: int = 8, tokens: int = 256, **changes: object) -> EngineResult:
    options = {name: changes.pop(name) for name in tuple(changes) if name in ("segments",)}
    limits = config(**(ROOMY | {"max_num_seqs": seqs, "max_num_batched_tokens": tokens} | changes))
    return run(trace(*requests, **options), limits, affine_costs(tokens, seqs, base=100), log=True)


@pytest.mark.parametrize(("chunked", "first"), [(False, {100: 5000}), (True, {100: 5000, 101: 3072})])
def test_case_26_prompts_and_decodes_share_an_iteration(chunked, first):
    result = serve(*[(0, 10, 50)] * 100, (150, 5000, 2), (150, 4000, 2), seqs=200, tokens=8192, enable_chunked_prefill=chunked)
    steps = [{k: v for k, v in batch.items() if k >= 100} | {"decodes": sum(k < 100 for k in batch)} for batch in batches(result)]
    assert steps[1:3] == [{"decodes": 100}, first | {"decodes": 100}]


def test_case_26_vllm_gives_the_second_prompt_what_is_left_to_the_token():
    vllm = {"scheduler": "vllm_v1", "enable_chunked_prefill": True}
    result = serve(*[(0, 10, 50)] * 100, (150, 5000, 2), (150, 4000, 2), seqs=200, tokens=8192, **vllm)
    step = batches(result)[2]
    assert (step[100], step[101], sum(k < 100 for k in step)) == (5000, 3092, 100)


def test_case_27_every_running_request_reserves_blocks_for_all_its_outputs():
    """1,000 blocks of 32, prompts of 1,000 with 1,000 outputs, 63 blocks each: 15 run; vLLM starts the 16th."""
    limits = {"num_gpu_blocks": 1_001, "max_model_len": 4096, "seqs": 64, "tokens": 32_768}
    result = serve(*[(0, 1000, 1000)] * 16, **limits)
    assert result.log.running.max() == 15 and batches(result)[0].keys() == set(range(15))
    vllm = serve(*[(0, 1000, 1000)] * 16, **limits | {"scheduler": "vllm_v1", "enable_chunked_prefill": True})
    assert vllm.log.running[0] == 16


def test_case_29_prompts_are_held_back_until_they_fill_a_share_of_the_budget():
    """Ratio 0.8 of 8,192 is 6,553.6 tokens: 4,096 beside 100 decodes wait 40 iterations at most, 6,500 do not, and alone they
    never do."""
    wait = TrtllmScheduler(batch_wait=BatchWait(timeout_iterations=40, ratio=0.8))
    decoding = [(0, 10, 80)] * 100
    for prompt, held in ((4096, 40), (6500, 0)):
        result = serve(*decoding, (150, prompt, 2), seqs=200, tokens=8192, tensorrt_llm=wait)
        assert next(k for k, batch in enumerate(batches(result)) if 100 in batch) == 2 + held
    alone = serve((150, 4096, 2), tokens=8192, tensorrt_llm=wait)
    assert batches(alone)[0] == {0: 4096}


def test_without_chunks_a_prompt_waits_for_an_iteration_that_holds_it_whole_and_a_longer_one_is_refused():
    result = serve((0, 200, 1), (0, 100, 1), (0, 300, 1))
    assert batches(result) == [{0: 200}, {1: 100}] and result.finish_ns.tolist() == [100, 200, -1]
    # the prompt alone must fit the budget, not the whole sequence
    assert serve((0, 250, 50)).finish_ns[0] == 50 * 100


def test_chunks_in_turn_and_evenly():
    """3.2.6: 150 tokens for prompts of 100 and 90 in units of 32."""
    a, b = (Request(k, 0, prompt, 1, 0, k) for k, prompt in enumerate((100, 90)))
    assert in_turn([(a, 100), (b, 90)], 150, 32) == [(a, 100), (b, 32)]
    # 32 each, 64 each (128), then 22 are left: less than a unit
    assert evenly([(a, 100), (b, 90)], 150, 32) == [(a, 64), (b, 64)]
    assert evenly([(a, 100), (b, 90)], 155, 32) == [(a, 64), (b, 90)]  # a final piece may be shorter
    assert in_turn([(a, 100), (b, 90)], 20, 32) == []


def test_with_overlap_a_stop_is_seen_one_iteration_late():
    plain, late = (serve((0, 4, 3), (0, 4, 6), async_scheduling=overlap) for overlap in (False, True))
    assert [list(batch) for batch in batches(plain)] == [[0, 1]] * 3 + [[1]] * 3
    assert [list(batch) for batch in batches(late)] == [[0, 1]] * 4 + [[1]] * 3
    assert plain.finish_ns.tolist() == late.finish_ns.tolist() == [300, 600]


def test_maximum_utilization_pauses_the_request_that_started_last():
    """Four blocks of 4. Two prompts of 8 take them; the first decode needs a fifth: request 1 is paused, and starts again
    when blocks for its prompt and output, three, are free."""
    most = TrtllmScheduler(capacity="max_utilization")
    result = serve((0, 8, 5), (0, 8, 5), block_size=4, num_gpu_blocks=5, max_model_len=20, tensorrt_llm=most)
    assert result.preemptions.tolist() == [0, 1]
    assert batches(result) == [{0: 8, 1: 8}] + [{0: 1}] * 4 + [{1: 9}] + [{1: 1}] * 3
    never = serve((0, 8, 5), (0, 8, 5), block_size=4, num_gpu_blocks=5, max_model_len=20)
    assert never.preemptions.tolist() == [0, 0] and batches(never)[0] == {0: 8}  # 4 blocks each: one at a time


def test_with_overlap_blocks_for_two_steps_are_asked_for():
    """Prompts of 7 with blocks of 4: the next token fits the second block, the one after does not."""
    most = TrtllmScheduler(capacity="max_utilization")
    pauses = [serve((0, 7, 3), (0, 7, 3), block_size=4, num_gpu_blocks=5, max_model_len=20, tensorrt_llm=most,
                    async_scheduling=overlap).log.preempted.tolist() for overlap in (False, True)]
    # in steps: 7 tokens are computed before step 1, where the 8th fits; before step 2 the 9th does not
    assert pauses == [[[2, 1]], [[1, 1]]]


def test_a_prompt_whose_first_missing_block_is_being_computed_waits_for_it():
    """3.2.4: three prompts share 64 tokens; the second and third wait until they can be reused. vLLM starts them all at once."""
    contents = shared(*([(0, 0, 64), (1_000_000 + k, 0, 20)] for k in range(3)))
    result = serve(*[(0, 84, 4)] * 3, enable_prefix_caching=True, segments=contents)
    assert batches(result)[:2] == [{0: 84}, {1: 20, 2: 20, 0: 1}]
    assert result.cached_tokens.tolist() == [0, 64, 64]
