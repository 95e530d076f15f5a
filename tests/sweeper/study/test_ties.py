"""Ties: hand-made cases, and how often they are right against truths that are known."""

import math

import numpy as np
import pytest

from simulator.analysis.confidence import half_width, half_widths, mean_metrics, t_quantile
from sweeper.study.ties import Measured, close, differences, measured, tied

COST = [5.0] * 4  # an objective that is the same on every replicate


def designs(*rows):
    """Each row: (replicates of a latency, a cost); values are the means."""
    return measured([[np.mean(r), c] for r, c in rows], [[r, [c] * len(r)] for r, c in rows], np.ones(2))


def test_students_interval_of_a_textbook():
    """Law, "Simulation Modeling and Analysis", example 4.25: n = 10, mean 1.34, 90 % half-width 0.24."""
    values = [1.20, 1.50, 1.68, 1.89, 0.95, 1.49, 1.58, 1.55, 0.50, 1.09]
    assert np.mean(values) == pytest.approx(1.34, abs=0.005)
    assert half_width(values, 0.90) == pytest.approx(0.24, abs=0.005)
    # Abramowitz & Stegun, table 26.10: two-sided 95 % for 1, 2, 4, 9 degrees of freedom
    assert [t_quantile(n) for n in (2, 3, 5, 10)] == pytest.approx([12.706, 4.303, 2.776, 2.262], abs=5e-4)


def test_what_does_not_vary_has_no_width_and_keeps_its_bits():
    runs = [{"a": 0.1, "b": 1.0}, {"a": 0.1, "b": 2.0}, {"a": 0.1, "b": 6.0}]
    assert mean_metrics(runs) == {"a": 0.1, "b": 3.0}
    assert half_widths(runs) == {"b": pytest.approx(4.303 * math.sqrt(7) / math.sqrt(3), rel=1e-4)}
    assert half_widths(runs[:1]) == {}


def test_a_difference_that_is_the_same_on_every_trace_is_no_tie():
    """Each design varies by +-20 %, but one is slower by a hundredth on each trace: paired, that is certain."""
    noise = [8.0, 12.0, 9.0, 11.0]
    a, b = designs((noise, 5.0)), designs(([x + 0.1 for x in noise], 5.0))
    difference, half = differences(a, b)
    assert difference[0] == pytest.approx([-0.1, 0.0])
    assert half[0] == pytest.approx([0, 0], abs=1e-12)
    assert not tied(a, b)[0]


def test_a_difference_within_its_own_spread_is_a_tie():
    a, b = designs(([8.0, 12.0, 9.0, 11.0], 5.0)), designs(([8.2, 11.9, 9.1, 10.9], 5.0))
    difference, half = differences(a, b)  # differences -0.2, 0.1, -0.1, 0.1: mean -0.025, s 0.15, 3 degrees of freedom
    assert difference[0, 0] == pytest.approx(-0.025)
    assert half[0, 0] == pytest.approx(3.182 * 0.15 / 2, rel=1e-3)  # one objective varies: no correction
    assert tied(a, b)[0]


def test_a_sure_difference_in_price_is_no_tie_however_noisy_the_latency():
    assert not tied(designs(([8.0, 12.0, 9.0, 11.0], 5.0)), designs(([8.2, 11.9, 9.1, 10.9], 5.01)))[0]


def test_two_noisy_objectives_share_the_five_percent():
    a = Measured(np.zeros((1, 2)), np.array([[[0, 0, 0.0], [0, 0, 0.0]]]))
    b = Measured(np.zeros((1, 2)), np.array([[[1, 2, 3.0], [1, 2, 3.0]]]))
    assert differences(a, b)[1][0] == pytest.approx(6.205 / math.sqrt(3), rel=1e-4)  # t for 97.5 % two-sided, 2 d.o.f.


def test_front_ties_near_designs_and_dominated_ones_are_told_apart():
    front = designs(([8.0, 12.0, 9.0, 11.0], 5.0), ([4.0, 6.0, 4.5, 5.5], 7.0), ([4.0, 6.0, 4.5, 5.5], 7.0))
    others = designs(
        ([8.2, 11.9, 9.1, 10.9], 5.0),  # within the noise of the first
        ([8.0, 12.0, 9.0, 11.0], 5.5),  # as fast, but dearer for certain
        ([9.0, 13.0, 10.0, 12.0], 5.0),  # slower on every trace
        ([4.1, 5.95, 4.45, 5.6], 7.0))  # within the noise of two equal ones
    found = close(front, others)
    assert found.among == {1: [2], 2: [1]}
    assert found.near == {0: [0], 3: [1, 2]}


def test_one_design_that_dominates_for_certain_is_enough():
    """Within the noise of one, but beaten for certain by another design of the front: no tie."""
    front = designs(([8.0, 12.0, 9.0, 11.0], 5.0), ([8.19, 11.89, 9.09, 10.89], 4.9))
    other = designs(([8.2, 11.9, 9.1, 10.9], 5.0))
    assert tied(other, front).tolist() == [True, False]
    assert close(front[:1], other).near == {0: [0]}
    assert close(front, other).near == {}


def test_directions_are_turned():
    a = measured([[10.0, 3.0]], [[[9.0, 11.0], [3.0, 3.0]]], np.array([-1.0, 1.0]))
    assert a.values.tolist() == [[-10.0, 3.0]]
    assert a.replicates.tolist() == [[[-9.0, -11.0], [3.0, 3.0]]]


def test_empty_sets():
    none = Measured(np.empty((0, 2)), np.empty((0, 2, 3)))
    assert close(none, none).near == {}
    assert close(designs(([1.0, 2.0], 1.0)), none).among == {}


@pytest.mark.parametrize("count", [3, 5, 10])
def test_designs_that_are_equal_in_truth_tie_in_95_percent(count):
    """Two noisy objectives with common noise eight times the designs' own: joint coverage, and power at a true difference
    of 5 standard errors that unpaired intervals would not see."""
    rng = np.random.default_rng(count)
    pairs = 4000
    common = 8 * rng.standard_normal((pairs, 2, count))
    own = rng.standard_normal((2, pairs, 2, count))
    a, b = (Measured(r.mean(axis=-1), r) for r in common + own)
    share = tied(a, b).mean()
    assert 0.945 <= share <= 0.985  # Bonferroni of two independent ones: 95.06 %
    apart = b.replicates + 5 * math.sqrt(2 / count)
    seen = 1 - tied(a, Measured(apart.mean(axis=-1), apart)).mean()
    assert seen > {3: 0.6, 5: 0.95, 10: 0.99}[count]
    alone = half_width(a.replicates[0, 0].tolist())
    assert alone > 5 * math.sqrt(2 / count), "the designs' own intervals overlap by far"
