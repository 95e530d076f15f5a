"""Kernels are Optuna's, no narrower than the grid; as tables they are the same distribution."""

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from scipy.stats import norm

from sweeper.search import parzen
from sweeper.search.parzen import TableParzenEstimator

SPACE: dict[str, BaseDistribution] = {
    "array": IntDistribution(0, 2), "stacks": IntDistribution(2, 8, step=2), "share": FloatDistribution(0.1, 0.9, step=0.1),
    "pim": CategoricalDistribution(["none", "local", "pooled"])}


@pytest.fixture
def near_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the part of a kernel that is even over all levels, which Optuna's code does not know."""
    monkeypatch.setattr(parzen, "FAR", 0.0)


def estimators(space: dict[str, BaseDistribution]) -> tuple[TableParzenEstimator, _ParzenEstimator]:
    rng = np.random.default_rng(3)
    seen = {"array": rng.integers(0, 3, 20).astype(float), "stacks": 2.0 + 2 * rng.integers(0, 4, 20),
            "share": 0.1 + 0.1 * rng.integers(0, 9, 20), "pim": rng.integers(0, 3, 20).astype(float),
            "clock": rng.random(20)}
    observations = {name: seen[name] for name in space}
    parameters = TPESampler(multivariate=True)._parzen_estimator_parameters
    return TableParzenEstimator(observations, space, parameters), _ParzenEstimator(observations, space, parameters)


def test_kernels_wider_than_the_grid_are_optunas(near_only: None) -> None:
    fine: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 8.0, step=0.1) for name in ("array", "stacks", "clock")}
    table, optuna = estimators(fine)
    points = optuna.sample(np.random.RandomState(0), 200)
    np.testing.assert_allclose(table.log_pdf(points), optuna.log_pdf(points), rtol=1e-6)


def test_a_kernel_on_a_coarse_grid_leaves_its_level_with_a_chance_of_one_in_the_number_of_parameters() -> None:
    """Inside a range; at its ends half of the leaving mass is cut off. Optuna's own kernels hardly leave theirs."""
    wide, narrow = (e._mixture_distribution.distributions for e in estimators(SPACE))
    for ours, theirs, name in zip(wide, narrow, SPACE, strict=True):
        if name == "pim":
            assert np.allclose(ours.weights[:-1].max(axis=1), 1 - 1 / 4)
            assert theirs.weights[:-1].max() > 0.9
        else:
            half = ours.step / 2
            left = [1 - (norm.cdf(half / s) - norm.cdf(-half / s)) for s in ours.sigma[:-1]]
            assert min(left) >= 1 / 4 - 1e-9
            assert (ours.sigma >= theirs.sigma).all()
        assert np.allclose(*((d.weights if name == "pim" else d.sigma)[-1] for d in (ours, theirs)))  # the prior


def test_every_level_is_within_reach_of_every_kernel() -> None:
    space: dict[str, BaseDistribution] = {"array": IntDistribution(0, 4), "pim": SPACE["pim"]}
    seen = {"array": np.zeros(30), "pim": np.zeros(30)}
    table = TableParzenEstimator(seen, space, TPESampler(multivariate=True)._parzen_estimator_parameters)
    kernels = table._tables[0]
    assert kernels is not None
    masses = kernels[0]
    np.testing.assert_allclose(masses.sum(axis=1), 1.0)
    assert masses[:-1, 4].min() >= 0.2 * (1 / 2) / 5


def test_one_parameter_and_no_observations_are_taken() -> None:
    single: dict[str, BaseDistribution] = {"array": IntDistribution(0, 2)}
    nothing = TableParzenEstimator({"array": np.array([])}, single, TPESampler(multivariate=True)._parzen_estimator_parameters)
    for estimator in (estimators(single)[0], nothing):
        points = estimator.sample(np.random.RandomState(0), 50)
        assert set(points["array"]) == {0.0, 1.0, 2.0}
        assert np.isfinite(estimator.log_pdf(points)).all()


def test_weights_move_mass_between_the_observations_only(near_only: None) -> None:
    even, uneven = estimators(SPACE)[0], estimators(SPACE)[0]
    observations, prior = len(even._kernel_weights) - 1, even._kernel_weights[-1]
    shares = np.arange(1.0, observations + 1)
    uneven.weigh(shares / shares.sum())
    np.testing.assert_allclose(uneven._kernel_weights, [*(1 - prior) * shares / shares.sum(), prior])
    points = even.sample(np.random.RandomState(0), 100)
    np.testing.assert_allclose(uneven.log_pdf(points), _ParzenEstimator.log_pdf(uneven, points), rtol=1e-6)
    even.weigh(np.full(observations, 1 / observations))
    np.testing.assert_allclose(even.log_pdf(points), estimators(SPACE)[0].log_pdf(points), rtol=1e-9)


def test_densities_are_those_of_optunas_code(near_only: None) -> None:
    table, optuna = estimators(SPACE)
    points = optuna.sample(np.random.RandomState(0), 200)
    np.testing.assert_allclose(table.log_pdf(points), _ParzenEstimator.log_pdf(table, points), rtol=1e-6)


def test_samples_follow_the_distribution_that_optunas_code_draws(near_only: None) -> None:
    table, _ = estimators(SPACE)
    ours = table.sample(np.random.RandomState(1), 40_000)
    theirs = _ParzenEstimator.sample(table, np.random.RandomState(1), 40_000)
    for name in SPACE:
        levels = np.unique(np.round(theirs[name], 6))
        assert set(np.round(ours[name], 6)) <= set(levels)
        for level in levels:
            share, expected = (np.mean(np.isclose(s[name], level)) for s in (ours, theirs))
            assert abs(share - expected) < 0.012  # 4 standard deviations of the difference


def test_a_continuum_keeps_optunas_code() -> None:
    table, optuna = estimators({**SPACE, "clock": FloatDistribution(0.0, 1.0)})
    points = optuna.sample(np.random.RandomState(0), 50)
    np.testing.assert_array_equal(table.log_pdf(points), _ParzenEstimator.log_pdf(table, points))
