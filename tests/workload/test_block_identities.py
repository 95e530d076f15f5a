"""Two blocks have one identity exactly when they and all before them hold the same tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.inputs.errors import InputError
from simulator.workload.block_identities import block_identities
from simulator.workload.trace import OUTPUT_STREAM, PRIVATE_STREAM, Segments, Trace
from tests.engine.builders import trace
from tests.engine.scenarios import scenarios


def tokens(requests: Trace, i: int, outputs: int) -> list[tuple[int, int]]:
    """Request i spelled out token by token, the last output left out."""
    if requests.prompt_ids is not None:
        begin, end = requests.prompt_id_offsets[i:i + 2]
        prompt = [(-1, int(token)) for token in requests.prompt_ids[begin:end]]
    elif requests.segments is not None:
        cut = requests.segments
        prompt = [(int(cut.stream[s]), int(cut.start[s]) + k) for s in range(cut.offsets[i], cut.offsets[i + 1])
                  for k in range(cut.length[s])]
    else:
        prompt = [(PRIVATE_STREAM + i, k) for k in range(requests.prompt_tokens[i])]
    return prompt + [(OUTPUT_STREAM + i, k) for k in range(outputs - 1)]


def assert_exact(requests: Trace, outputs: np.ndarray, block: int) -> None:
    identities = block_identities(requests, outputs, block)
    content: dict[int, tuple] = {}
    identity: dict[tuple, int] = {}
    for i in range(len(requests)):
        text = tokens(requests, i, int(outputs[i]))
        mine = identities.first(i, len(text) // block)
        for j, name in enumerate(mine):
            prefix = tuple(text[:(j + 1) * block])
            assert content.setdefault(name, prefix) == prefix
            assert identity.setdefault(prefix, name) == name


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_identities_are_equal_exactly_when_the_tokens_so_far_are(scenario):
    assert_exact(scenario.trace, scenario.trace.output_tokens.astype(np.int64), scenario.config.block_size)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=5),
                min_size=1, max_size=6), st.integers(1, 4))
def test_segments_may_start_anywhere_be_empty_and_continue_one_another(pieces, block):
    pieces = [[*request, (9, 0, 1)] for request in pieces]
    rows = np.array([row for request in pieces for row in request])
    cut = Segments(np.cumsum([0, *map(len, pieces)]), rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].copy())
    requests = trace(*[(0, sum(row[2] for row in request), 3) for request in pieces], segments=cut)
    assert_exact(requests, np.full(len(pieces), 3), block)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14), min_size=1, max_size=12), st.integers(1, 3))
def test_token_ids_branch_anywhere(prompts, block):
    ids = np.array([token for prompt in prompts for token in prompt], np.int32)
    requests = trace(*[(0, len(prompt), 2) for prompt in prompts], prompt_ids=ids,
                     prompt_id_offsets=np.cumsum([0, *map(len, prompts)]))
    assert_exact(requests, np.full(len(prompts), 2), block)


def test_private_prompts_need_no_interning():
    identities = block_identities(trace((0, 9, 4), (0, 9, 4)), np.array([4, 4]), 4)
    assert len(identities.shared) == 0
    assert identities.first(0, 3) == [0, 1, 2] and identities.first(1, 3) == [3, 4, 5]


def test_only_blocks_that_recur_are_kept():
    same = np.array([5, 5, 5, 5, 1, 2, 3, 4, 5, 5, 5, 5, 4, 3, 2, 1], np.int32)
    requests = trace((0, 8, 1), (0, 8, 1), prompt_ids=same, prompt_id_offsets=np.array([0, 8, 16]))
    assert block_identities(requests, np.array([1, 1]), 4).offsets.tolist() == [0, 1, 2]


def test_contents_must_add_up_to_the_prompts():
    with pytest.raises(InputError, match="prompt_id_offsets"):
        block_identities(trace((0, 8, 1), prompt_ids=np.zeros(7, np.int32), prompt_id_offsets=np.array([0, 7])),
                         np.array([1]), 4)
    cut = Segments(*(np.array(column, np.int64) for column in ([0, 1], [0], [0], [7])))
    with pytest.raises(InputError, match="segments"):
        block_identities(trace((0, 8, 1), segments=cut), np.array([1]), 4)
