"""The canonical grids, and the adjoint of interpolation that breakdowns rest on."""

import numpy as np

from simulator.pricing import grids


def test_steps_of_tiled_arrays_stay_steps():
    knots = grids.row_knots(8192)
    tiles = np.ceil(knots / 128)
    rows = np.arange(1, 2049)
    assert (np.interp(rows, knots, tiles) == np.ceil(rows / 128)).all()


def test_spread_weights_price_a_histogram_as_interpolation_does():
    rng = np.random.default_rng(3)
    histogram = rng.integers(0, 5, 3001)
    knots = grids.row_knots(3000)
    curve = np.sqrt(knots) + 7
    direct = sum(count * np.interp(x, knots, curve) for x, count in enumerate(histogram) if x)
    assert np.isclose(grids.spread(knots, histogram) @ curve, direct, rtol=1e-12)


def test_grids_reach_what_is_asked():
    assert grids.row_knots(40_000)[-1] >= 40_000
    assert grids.batch_knots(3000)[-1] >= 3000
    assert grids.row_knots(100) is grids.row_knots(100)
