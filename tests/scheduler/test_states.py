"""State groups with prefix caching: where chunks end (rule G24) and what is kept, by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.engine.reference import run
from simulator.scheduler.config import KvGroupConfig
from simulator.scheduler.states import aligned_tokens
from simulator.workload.trace import Segments
from tests.engine.builders import affine_costs, config, trace

GROUPS = (KvGroupConfig("full", 4), KvGroupConfig("state", 4))


@pytest.mark.parametrize(("start", "new", "junction", "limit", "expected"), [
    (0, 30, 0, 64, 28),  # the whole prompt of 30: first up to the last block boundary before its end
    (28, 2, 0, 64, 2),  # then its rest
    (0, 13, 0, 64, 12),  # a chunk in mid-prompt ends on a block
    (0, 3, 0, 64, 0),  # less than a block is left of the budget: nothing yet
    (0, 3, 0, 3, 3),  # a block never fits a chunk: then any length
    (3, 3, 0, 3, 1),  # and the next one stops at the boundary
    (0, 30, 12, 64, 12),  # others parted at 12: a state is kept there
    (8, 20, 15, 64, 4),  # at 15 it would lie in a block: at 12
    (12, 16, 15, 64, 16),  # which this chunk has behind it
    (30, 1, 0, 64, 1),  # decode
])  # fmt: skip
def test_where_a_chunk_ends(start, new, junction, limit, expected):
    assert aligned_tokens(start, new, prompt=30, known=30, junction=junction, block_size=4, limit=limit) == expected


def test_a_resumed_request_is_cut_up_to_its_last_token_but_one():
    # 30 prompt tokens and 5 outputs: up to token 34 chunks are cut, (35 - 1) // 4 * 4 = 32 is the last boundary
    assert aligned_tokens(0, 35, prompt=30, known=35, junction=0, block_size=4, limit=64) == 32
    assert aligned_tokens(34, 1, prompt=30, known=35, junction=0, block_size=4, limit=64) == 1


def serve(*prompts, outputs=1, arrivals=None):
    """Requests whose prompts are lists of (stream, length)."""
    rows = [piece for prompt in prompts for piece in prompt]
    segments = Segments(np.cumsum([0, *map(len, prompts)]), np.array([s for s, _ in rows]), np.zeros(len(rows), np.int64),
                        np.array([n for _, n in rows]))
    requests = [(at, sum(n for _, n in prompt), outputs) for at, prompt in zip(arrivals or [0] * len(prompts), prompts, strict=True)]
    return run(trace(*requests, segments=segments), config(kv_groups=GROUPS, enable_prefix_caching=True), affine_costs(), log=True)


def test_the_state_at_the_last_boundary_of_a_prompt_serves_the_same_prompt():
    result = serve([(0, 18)], [(0, 18)], arrivals=[0, 10_000])
    assert result.log.batch_new_tokens.tolist() == [16, 2, 2]
    assert result.cached_tokens.tolist() == [0, 16]


def test_a_prompt_that_parts_earlier_finds_no_state_but_leaves_one():
    # 1 shares 10 tokens with 0: two full blocks are there, no state at 8; it keeps one there, which 2 then finds
    result = serve([(0, 10), (1, 8)], [(0, 10), (2, 8)], [(0, 10), (3, 8)], arrivals=[0, 10_000, 20_000])
    assert result.cached_tokens.tolist() == [0, 0, 8]
    assert result.log.batch_new_tokens.tolist() == [16, 2, 8, 8, 2, 8, 2]


def test_a_state_is_not_hit_while_it_is_computed():
    # both at once: the second waits until the first has gone past its last boundary
    result = serve([(0, 18)], [(0, 18)])
    assert list(zip(result.log.batch_request.tolist(), result.log.batch_new_tokens.tolist(), strict=True)) == [(0, 16), (0, 2), (1, 2)]
    assert result.log.admissions.tolist() == [[0, 0, 0], [2, 1, 16]]


def test_a_request_holds_one_state_and_two_after_a_boundary():
    result = serve([(0, 18)], outputs=5)
    assert result.log.held.tolist() == [[4, 1], [5, 2], [5, 1], [5, 1], [6, 2], [6, 1]]
