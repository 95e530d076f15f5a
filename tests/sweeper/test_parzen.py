"""Kernels as tables are the distribution that Optuna's own estimator has."""

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

from sweeper.search.parzen import TableParzenEstimator

SPACE: dict[str, BaseDistribution] = {
    "array": IntDistribution(0, 2), "stacks": IntDistribution(2, 8, step=2), "share": FloatDistribution(0.1, 0.9, step=0.1),
    "pim": CategoricalDistribution(["none", "local", "pooled"])}


def estimators(space: dict[str, BaseDistribution]) -> tuple[TableParzenEstimator, _ParzenEstimator]:
    rng = np.random.default_rng(3)
    seen = {"array": rng.integers(0, 3, 20).astype(float), "stacks": 2.0 + 2 * rng.integers(0, 4, 20),
            "share": 0.1 + 0.1 * rng.integers(0, 9, 20), "pim": rng.integers(0, 3, 20).astype(float),
            "clock": rng.random(20)}
    observations = {name: seen[name] for name in space}
    parameters = TPESampler(multivariate=True)._parzen_estimator_parameters
    return TableParzenEstimator(observations, space, parameters), _ParzenEstimator(observations, space, parameters)


def test_densities_are_optunas() -> None:
    table, optuna = estimators(SPACE)
    points = optuna.sample(np.random.RandomState(0), 200)
    np.testing.assert_allclose(table.log_pdf(points), optuna.log_pdf(points), rtol=1e-6)


def test_samples_follow_optunas_distribution() -> None:
    table, optuna = estimators(SPACE)
    ours, theirs = (e.sample(np.random.RandomState(1), 40_000) for e in (table, optuna))
    for name in SPACE:
        levels = np.unique(np.round(theirs[name], 6))
        assert set(np.round(ours[name], 6)) <= set(levels)
        for level in levels:
            share, expected = (np.mean(np.isclose(s[name], level)) for s in (ours, theirs))
            assert abs(share - expected) < 0.012  # 4 standard deviations of the difference


def test_a_continuum_keeps_optunas_code() -> None:
    table, optuna = estimators({**SPACE, "clock": FloatDistribution(0.0, 1.0)})
    points = optuna.sample(np.random.RandomState(0), 50)
    np.testing.assert_array_equal(table.log_pdf(points), optuna.log_pdf(points))
