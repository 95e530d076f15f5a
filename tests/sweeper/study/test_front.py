"""The front and the hypervolume, against their definitions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.study.front import Front, LiveFront, eligible, front, hypervolume, points, reference_point
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


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=25))
def test_a_front_kept_point_by_point_is_the_front(rows: list[tuple[int, int]]) -> None:
    """With ties all of equal points stay; without, the first."""
    trials = [complete(i, *row) for i, row in enumerate(rows)]
    table = points(trials, OBJECTIVES)
    kept, first = Front(2, ties=True), Front(2)
    for trial, row in zip(trials, table, strict=True):
        kept.add(row, trial.number)
        first.add(row, trial.number)
    expected = sorted(numbers(front(trials, OBJECTIVES)))
    assert kept.members == expected
    assert first.members == [n for n in expected if not any((table[n] == table[other]).all() for other in expected if other < n)]
    assert first.costs.tolist() == table[first.members].reshape(-1, 2).tolist()


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=25))
def test_the_front_of_a_running_sweep_is_the_front(rows: list[tuple[int, int]]) -> None:
    trials = [complete(i, *row) for i, row in enumerate(rows)]
    singly, at_once = LiveFront(OBJECTIVES), LiveFront(OBJECTIVES)
    for trial in trials:
        singly.add(trial)
    at_once.add_rows(np.array(rows, dtype=float), [t.design_key for t in trials])
    table = points(trials, OBJECTIVES)
    volume = hypervolume(table, reference_point(table))
    for live in (singly, at_once):
        assert len(live) == len(front(trials, OBJECTIVES))
        assert live.hypervolume() == pytest.approx(volume)
        assert live.best() == [min(row[0] for row in rows), max(row[1] for row in rows)]
