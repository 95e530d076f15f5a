"""The classic policies differ where their papers say they do."""

from __future__ import annotations

from simulator.engine.reference import run
from simulator.engine.result import EngineResult
from tests.engine.builders import affine_costs, config, trace


def batches(result: EngineResult) -> list[dict[int, int]]:
    """Per step: new tokens by request."""
    log = result.log
    assert log is not None
    entries = list(zip(log.batch_request.tolist(), log.batch_new_tokens.tolist(), strict=True))
    return [dict(entries.pop(0) for _ in range(n)) for n in log.n.tolist()]


def serve(scheduler: str, *requests: tuple[int, int, int], **changes: object) -> EngineResult:
    return run(trace(*requests), config(scheduler=scheduler, **changes), affine_costs(base=100), log=True)


LATE = ((0, 10, 4), (50, 20, 2))  # the second arrives while the first is being prefilled


def test_static_batching_lets_nobody_join():
    assert batches(serve("static", *LATE)) == [{0: 10}, {0: 1}, {0: 1}, {0: 1}, {1: 20}, {1: 1}]


def test_orca_lets_requests_join_at_every_step_with_whole_prompts():
    assert batches(serve("orca", *LATE)) == [{0: 10}, {0: 1, 1: 20}, {0: 1, 1: 1}, {0: 1}]


def test_orca_reserves_the_longest_sequence_for_every_request():
    # 32 blocks hold one sequence of 128 tokens: no second request, however short, runs beside it
    assert batches(serve("orca", (0, 4, 2), (0, 4, 2), num_gpu_blocks=33)) == [{0: 4}, {0: 1}, {1: 4}, {1: 1}]
    assert batches(serve("vllm_v1", (0, 4, 2), (0, 4, 2), num_gpu_blocks=33)) == [{0: 4, 1: 4}, {0: 1, 1: 1}]


def test_vllm_v0_stalls_decodes_for_prefills():
    assert batches(serve("vllm_v0", *LATE)) == [{0: 10}, {1: 20}, {0: 1, 1: 1}, {0: 1}, {0: 1}]


def test_sarathi_serves_decodes_before_a_prompt_under_way():
    # request 1 is in mid-prompt for long and stands before request 2, which soon decodes
    requests = ((0, 4, 8), (0, 30, 2), (0, 2, 4))
    v1 = batches(serve("vllm_v1", *requests, max_num_batched_tokens=9, max_num_seqs=3,
                       long_prefill_token_threshold=3))
    sarathi = batches(serve("sarathi", *requests, max_num_batched_tokens=9, max_num_seqs=3,
                            long_prefill_token_threshold=3))
    assert [list(batch) for batch in v1[:3]] == [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert [list(batch) for batch in sarathi[:3]] == [[0, 1, 2], [0, 2, 1], [0, 2, 1]]
