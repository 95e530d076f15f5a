"""The look-ups that both engines share, against numpy's interpolation and hand-computed schedules."""

import numpy as np
import pytest
from numba import njit

from simulator.pricing import step_time as formulas
from simulator.pricing.step import BEST, CONCURRENT, INTERLEAVED, SERIAL


def test_cell_is_the_one_searchsorted_finds():
    rng = np.random.default_rng(1)
    for _ in range(50):
        knots = np.unique(rng.integers(0, 5000, rng.integers(2, 40))).astype(float)
        index = formulas.knot_index(knots)
        for x in np.concatenate([knots, knots + 0.5, rng.uniform(0, 9000, 50)]):
            expected = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
            assert formulas.cell(x, knots, index) == expected


def test_decode_is_linear_between_knots_and_beyond_the_last():
    knots = np.array([0.0, 100.0, 1000.0])
    table = np.tile([0.0, 1000.0, 19000.0], (5, 1))  # 10 ns per token, then 20
    index, spread = formulas.knot_index(knots), np.zeros(5)
    base, slope, inverse = formulas.decode_lines(table, knots)
    def decode(context_sum, longest=0, spread=spread):
        return formulas.decode_time_ns(4, context_sum, longest, base, slope, spread, inverse, knots, index)
    assert decode(4 * 50) == 500
    assert decode(4 * 550) == 10_000
    assert decode(4 * 2000) == 39_000
    assert decode(4 * 550, 650, np.full(5, 7.0)) == 10_700


def test_busiest_channel_counts():
    requests, context = np.array([1, 2, 0]), np.array([900, 100, 0])
    assert formulas.channel_time_ns(requests, context, 10.0, 1.0) == 910
    assert formulas.channel_time_ns(requests, context, 1000.0, 1.0) == 2100


def test_prefill_is_bilinear():
    chunks, contexts = np.array([0.0, 64.0, 512.0]), np.array([0.0, 256.0, 4096.0])
    table = 3.0 * chunks[:, None] * contexts[None, :] + 5.0 * chunks[:, None] + 7.0
    axes = (chunks, formulas.knot_index(chunks), 1 / np.diff(chunks),
            contexts, formulas.knot_index(contexts), 1 / np.diff(contexts))
    for chunk, context in ((10, 100), (64, 256), (300, 3000), (600, 5000)):
        assert formulas.prefill_time_ns(chunk, context, table, *axes) == 3 * chunk * context + 5 * chunk + 7


def test_overlap_modes():
    def blocks(mode, linear, prefill, decode, before, after, layers=2):
        return formulas.blocks_time_ns(mode, linear, prefill, decode, before, after, layers)
    assert blocks(SERIAL, 100, 30, 50, 0, 0) == 180
    assert blocks(CONCURRENT, 100, 30, 50, 0, 0) == 150
    # before = 20, after = 30: A 20, B max(20, 40), 2 x max(50, 40), E max(30, 40), F 30; over 2 * 2 halves
    assert blocks(INTERLEAVED, 50, 0, 40, 10, 15) == -(-(20 + 40 + 2 * 50 + 40 + 30) // 4)
    # attention alone: the NPU never waits longer than the halves' decode
    assert blocks(INTERLEAVED, 0, 0, 400, 0, 0) == 400
    assert blocks(BEST, 50, 0, 40, 10, 15) == 58
    assert blocks(BEST, 50, 0, 40, 30, 40) == 90


def test_stages_share_the_blocks_by_their_layers_rounded_up():
    assert formulas.stage_time_ns(100, 1, 3, 5, 7) == 34 + 12
    assert sum(formulas.stage_time_ns(90, share, 3, 0, 0) for share in (1, 2)) == 90


def test_compiled_and_interpreted_look_ups_agree_to_the_bit():
    knots = np.array([0.0, 7.0, 333.0, 2048.0])
    index = formulas.knot_index(knots)
    table = np.random.default_rng(3).uniform(1e3, 1e9, (65, 4))
    spread = np.random.default_rng(4).uniform(0, 9, 65)
    base, slope, inverse = formulas.decode_lines(table, knots)
    compiled = njit(formulas.decode_time_ns)
    for batch, total in ((1, 1), (3, 1000), (64, 99_999), (17, 12_345)):
        args = (batch, total, total, base, slope, spread, inverse, knots, index)
        assert compiled(*args) == formulas.decode_time_ns(*args)


def test_tables_that_do_not_fit_their_axes_are_refused():
    import dataclasses

    from simulator.inputs.errors import InputError
    from tests.engine.builders import affine_costs
    costs = affine_costs(max_tokens=8, max_seqs=4)
    with pytest.raises(InputError, match="context_knots"):
        formulas.step_tables(dataclasses.replace(costs, context_knots=np.array([0.0, 0.0])))
    with pytest.raises(InputError, match="overlap"):
        formulas.step_tables(dataclasses.replace(costs, overlap=INTERLEAVED))


def test_times_extended_beyond_a_falling_table_stop_at_0():
    knots = np.array([0.0, 100.0])
    table = np.tile([100.0, 50.0], (2, 1))
    base, slope, inverse = formulas.decode_lines(table, knots)
    decode = [formulas.decode_time_ns(1, n, n, base, slope, np.zeros(2), inverse, knots, formulas.knot_index(knots))
              for n in (100, 160, 1000)]
    assert decode == [50, 20, 0]
