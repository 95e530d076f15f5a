"""The front and the hypervolume, against their definitions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.study.front import convergence, eligible, front, hypervolume, points, reference_point
from sweeper.study.trial import Trial
from tests.sweeper.spaces import complete, space_of

OBJECTIVES = space_of(Path(tempfile.mkdtemp()), "  parallelism.tensor: {ordinal: [1, 2]}").objectives


def numbers(trials: list[Trial]) -> list[int]:
    return [t.number for t in trials]


def dominates(a: Trial, b: Trial) -> bool:
    """a is no worse in TPOT (less is better) and throughput (more is better), and better in one."""
    u, v = a.objectives, b.objectives
    no_worse = u["tpot_p95"] <= v["tpot_p95"] and u["output_throughput"] >= v["output_throughput"]
    return no_worse and u != v


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), max_size=25))
def test_the_front_is_what_nothing_dominates(rows: list[tuple[int, int]]) -> None:
    trials = [complete(i, *row) for i, row in enumerate(rows)]
    expected = {t.number for t in trials if not any(dominates(other, t) for other in trials)}
    found = front(trials, OBJECTIVES)
    assert set(numbers(found)) == expected
    assert numbers(found) == numbers(sorted(found, key=lambda t: (t.objectives["tpot_p95"],
                                                                  -t.objectives["output_throughput"], t.number)))
    assert numbers(front(trials[::-1], OBJECTIVES)) == numbers(found)


def test_only_complete_designs_inside_the_space_compete_and_each_once() -> None:
    trials = [complete(3, 10, 100), complete(1, 10, 100, design_key="key3"), complete(4, 1, 900, status="infeasible"),
              complete(5, 1, 900, parameters={}, baseline="h100"), complete(6, 20, 50, baseline="inside")]
    assert numbers(eligible(trials)) == [1, 6]
    assert numbers(front(trials, OBJECTIVES)) == [1]


def test_hypervolume_of_known_areas() -> None:
    reference = np.array([10.0, 10.0])
    assert hypervolume(np.array([[5.0, 5.0]]), reference) == pytest.approx(25)
    assert hypervolume(np.array([[2.0, 8.0], [8.0, 2.0]]), reference) == pytest.approx(16 + 16 - 4)
    assert hypervolume(np.array([[11.0, 1.0]]), reference) == 0
    assert hypervolume(np.empty((0, 2)), reference) == 0


def test_the_reference_point_is_a_tenth_of_the_range_beyond_the_worst() -> None:
    table = points([complete(0, 10, 100), complete(1, 30, 300)], OBJECTIVES)
    assert table.tolist() == [[10, -100], [30, -300]]
    assert reference_point(table).tolist() == [32.0, -80.0]
    assert reference_point(table[:1]).tolist() == [11.0, -90.0]


def test_convergence_steps_only_where_the_front_moves() -> None:
    trials = [complete(0, 30, 100), complete(1, 40, 90), complete(2, 10, 300), complete(3, 20, 200)]
    # reference: worst (40, 90) plus a tenth of the ranges (30, 210) = (43, 69)
    assert convergence(trials, OBJECTIVES) == [(0, pytest.approx(13 * 31)), (2, pytest.approx(33 * 231))]
    assert convergence([], OBJECTIVES) == []
