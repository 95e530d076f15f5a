"""Ranks and shares of hypervolume, on costs whose volumes can be read off a drawing."""

import numpy as np

from sweeper.search.ranking import best_first, hypervolume_shares


def test_shares_are_what_each_adds() -> None:
    """The range is 0..2 in both, so the reference is (2.2, 2.2): corners add 0.2 x 1, the middle 1 x 1."""
    shares = hypervolume_shares(np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]))
    np.testing.assert_allclose(shares, np.array([0.2, 1.0, 0.2]) / 1.4)


def test_dominated_costs_have_no_share() -> None:
    np.testing.assert_allclose(hypervolume_shares(np.array([[0.0, 0.0], [1.0, 1.0]])), [1.0, 0.0])


def test_equal_costs_share_evenly() -> None:
    np.testing.assert_allclose(hypervolume_shares(np.full((4, 2), 3.0)), np.full(4, 0.25))


def test_copies_share_what_their_costs_add() -> None:
    shares = hypervolume_shares(np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [2.0, 0.0]]))
    np.testing.assert_allclose(shares, np.array([0.2, 0.5, 0.5, 0.2]) / 1.4)


def test_copies_go_before_any_other() -> None:
    costs = np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [2.0, 0.0], [3.0, 3.0]])
    assert set(best_first(costs, 3)[:3]) in ({0, 1, 3}, {0, 2, 3})
    assert set(best_first(costs, 4)[:4]) == {0, 1, 2, 3}


def test_lower_ranks_come_first_and_the_cut_rank_by_volume() -> None:
    front = [[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]
    behind = [[3.0, 3.0], [1.5, 1.5]]
    order = best_first(np.array([*behind, *front]), 4)
    assert set(order[:3]) == {2, 3, 4} and order[3] == 1
    crowded = np.array([[0.0, 2.0], [0.9, 1.05], [1.0, 1.0], [2.0, 0.0]])  # they add 0.9 x 0.2, 0.1 x 0.95, 1 x 0.05, 0.2 x 1
    assert 2 not in best_first(crowded, 3)[:3]


def test_one_objective_is_sorted() -> None:
    assert list(best_first(np.array([[3.0], [1.0], [2.0]]), 2)[:2]) == [1, 2]
