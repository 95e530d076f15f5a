"""Windows, chunks and states free the blocks behind them; expected values are hand arithmetic from the rules."""

from __future__ import annotations

import pytest

from simulator.engine.reference import run
from simulator.scheduler.config import KvGroupConfig
from simulator.scheduler.windows import most_blocks, passed_blocks
from tests.engine.builders import affine_costs, config, trace

FULL, WINDOW, CHUNK = KvGroupConfig("full", 4), KvGroupConfig("window", 4, 8), KvGroupConfig("chunk", 4, 8)
STATE = KvGroupConfig("state", 128)


def held(groups, request, **limits):
    """Per step: blocks in each group's tables, and free blocks."""
    result = run(trace(request), config(kv_groups=groups, **limits), affine_costs(), log=True)
    return result.log.held.tolist(), result.log.free_blocks.tolist()


@pytest.mark.parametrize(("group", "settled", "passed"), [
    (FULL, 100, 0),
    (WINDOW, 7, 0), (WINDOW, 10, 0), (WINDOW, 11, 1), (WINDOW, 20, 3),  # token 20 reads 13..20: the blocks of 0..11 are done
    (CHUNK, 7, 0), (CHUNK, 8, 2), (CHUNK, 15, 2), (CHUNK, 16, 4),
    (KvGroupConfig("state", 16), 0, 0), (KvGroupConfig("state", 16), 16, 0), (KvGroupConfig("state", 16), 17, 1),
])  # fmt: skip
def test_blocks_that_no_later_token_reads(group, settled, passed):
    assert passed_blocks(group, settled) == passed


def test_a_window_reserves_for_the_tokens_in_flight():
    # gpt-oss: a window of 128 tokens takes 9 blocks of 16, but with 2 x 8192 tokens in flight (127 + 16384) / 16 + 1 = 1033
    roomy = {"max_num_batched_tokens": 8192, "max_model_len": 131072, "block_size": 16}
    window = KvGroupConfig("window", 16, 128)
    assert most_blocks(window, config(**roomy, async_scheduling=True)) == 1033
    assert most_blocks(window, config(**roomy)) == 521  # (127 + 8192) / 16 + 1
    assert most_blocks(KvGroupConfig("chunk", 16, 8192), config(**roomy)) == 1024


def test_a_window_holds_its_blocks_until_its_request_is_scheduled_again():
    # prompt 16 takes 4 blocks in each group; the decode of token 17 first frees the (16 - 8 + 1) // 4 = 2 blocks before it
    groups, free = held((FULL, WINDOW), (0, 16, 7), num_gpu_blocks=21)
    assert groups == [[4, 4], [5, 3], [5, 3], [5, 3], [5, 2], [6, 3], [6, 3]]
    assert free == [20 - sum(both) for both in groups]


def test_a_chunk_is_freed_as_a_whole():
    # after 16 computed tokens the next chunk of 8 begins: all four blocks go, one is taken
    assert held((CHUNK,), (0, 16, 3))[0] == [[4], [1], [1]]
    assert held((CHUNK,), (0, 14, 4))[0] == [[4], [2], [2], [1]]


def test_blocks_that_a_batch_in_flight_may_read_stay():
    # asynchronous: when the second step is decided, the 16 prompt tokens are not settled yet
    groups, _ = held((WINDOW,), (0, 16, 4), async_scheduling=True)
    assert groups == [[4], [5], [3], [3]]


def test_a_state_takes_one_block_for_good():
    assert held((FULL, STATE, STATE), (0, 6, 4))[0] == [[2, 1, 1], [2, 1, 1], [2, 1, 1], [3, 1, 1]]


def test_groups_share_one_pool():
    # two requests of 8 tokens take 2 blocks in each of 2 groups; 8 are there, so the first decode needs 2 more: the later
    # request goes. Alone, the first one frees nothing behind its window of 32
    wide = (FULL, KvGroupConfig("window", 4, 32))
    result = run(trace((0, 8, 2), (0, 8, 2)), config(kv_groups=wide, num_gpu_blocks=9), affine_costs(), log=True)
    assert result.preemptions.tolist() == [0, 1]
    assert result.log.free_blocks.tolist()[:2] == [0, 2]


def test_a_long_request_fits_where_its_window_is_small():
    # 128 tokens in a full group need 32 blocks; in a window of 8 with steps of at most 8 tokens (7 + 8) / 4 + 1 = 5
    request = (0, 100, 20)
    limits = {"num_gpu_blocks": 6, "max_num_batched_tokens": 8}
    assert run(trace(request), config(kv_groups=(FULL,), **limits), affine_costs()).finish_ns[0] == -1
    served = run(trace(request), config(kv_groups=(WINDOW,), **limits), affine_costs(), log=True)
    assert served.finish_ns[0] > 0 and served.log.held.max() <= 5
