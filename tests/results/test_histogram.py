"""Streamed percentiles against numpy's, within the error that is promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.gap_histogram import BINS, gap_bin
from simulator.results.histogram import ERROR, add_to_histogram, gap_percentiles_ns, new_histogram, percentiles_ns
from tests.results.test_latency import SPREADS

PERCENTILES = (0, 1, 50, 90, 95, 99, 99.9, 100)


def test_the_promise_is_a_twentieth_of_a_percent():
    assert ERROR < 0.0005


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 2000), min_size=1, max_size=5), st.sampled_from(sorted(SPREADS)))
def test_every_percentile_of_parts_added_up_is_within_the_promised_error(seed, sizes, spread):
    rng, counts = np.random.default_rng(seed), new_histogram()
    parts = [SPREADS[spread](rng, n).astype(float) for n in sizes]
    for part in parts:
        add_to_histogram(counts, part)
    values = np.concatenate(parts)
    assert counts.sum() == len(values)
    if len(values):
        exact = np.percentile(values, PERCENTILES)
        assert percentiles_ns(counts, PERCENTILES) == pytest.approx(exact, rel=ERROR + 1e-12, abs=1.0 if spread == "heavy tail" else 0)


def test_each_edge_of_a_bin_is_within_the_error_of_what_is_reported():
    for value in (1.0, 1.0009765624, 2.0**20, np.nextafter(2.0**20, 0), 2.0**53 - 1):
        counts = new_histogram()
        add_to_histogram(counts, np.array([value]))
        assert percentiles_ns(counts, (50,))[0] == pytest.approx(value, rel=ERROR)


def test_nothing_counted_is_nothing():
    assert percentiles_ns(new_histogram(), (50, 99)) == [0.0, 0.0]
    assert gap_percentiles_ns(np.zeros(BINS, np.int64), (50, 99)) == [0.0, 0.0]


def test_gaps_are_exact_below_128_ns_and_within_a_256th_above():
    for value in (0, 1, 127, 128, 129, 255, 256, 1000, 10**9, 2**53 - 1):
        counts = np.zeros(BINS, np.int64)
        counts[gap_bin(value)] = 1
        assert gap_percentiles_ns(counts, (50,))[0] == pytest.approx(value, rel=0 if value < 256 else 1 / 256)


def test_the_middle_of_a_gap_bin_is_the_mean_of_the_whole_numbers_in_it():
    for value in (3, 127, 128, 300, 5000, 123_456_789):
        counts, same = np.zeros(BINS, np.int64), []
        counts[gap_bin(value)] = 1
        width = max(1, 1 << max(value.bit_length() - 8, 0))
        low = value // width * width
        same = [v for v in (low, low + width - 1) if gap_bin(v) == gap_bin(value)]
        assert gap_percentiles_ns(counts, (50,)) == [sum(same) / len(same)]
