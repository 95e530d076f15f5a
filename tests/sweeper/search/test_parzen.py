"""The Parzen estimator against its definition: truncated normals of the stated widths, as tables on coarse grids."""

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import norm, truncnorm

from sweeper.search import parzen
from sweeper.search.batch_tpe import BatchTPESampler
from sweeper.search.parzen import Normals, ParzenEstimator, Table

SPACE: dict[str, BaseDistribution] = {
    "array": IntDistribution(0, 2), "stacks": IntDistribution(2, 8, step=2), "share": FloatDistribution(0.1, 0.9, step=0.1),
    "pim": CategoricalDistribution(["none", "local", "pooled"]), "clock": FloatDistribution(0.5, 2.0)}
GRID = {name: d for name, d in SPACE.items() if name != "clock"}


def seen(space: dict[str, BaseDistribution], count: int = 20) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    values = {"array": rng.integers(0, 3, count).astype(float), "stacks": 2.0 + 2 * rng.integers(0, 4, count),
              "share": 0.1 + 0.1 * rng.integers(0, 9, count), "pim": rng.integers(0, 3, count).astype(float),
              "clock": 0.5 + 1.5 * rng.random(count), "batch": 2.0 ** rng.integers(0, 13, count)}
    return {name: values[name] for name in space}


def widths(values: list[float], low: float, high: float) -> list[float]:
    """The larger gap to the neighbours (the ends of the range count for a single value only), not below the least width."""
    ordered = sorted(values)
    least = (high - low) / min(100, len(values) + 2)
    found = []
    for value in values:
        i = ordered.index(value)
        around = [ordered[j] for j in (i - 1, i + 1) if 0 <= j < len(ordered)]
        gaps = [abs(value - other) for other in around] if len(values) > 1 else [value - low, high - value]
        if len(values) > 1 and 0 < i < len(values) - 1:
            gaps = [max(gaps)]
        found.append(min(max(max(gaps), least), high - low))
    return found


def test_a_continuum_has_truncated_normals_and_a_prior() -> None:
    values = [0.7, 1.9, 1.0, 1.05, 0.52]
    estimator = ParzenEstimator({"clock": SPACE["clock"]}, {"clock": np.array(values)})
    kernels = estimator.kernels["clock"]
    assert isinstance(kernels, Normals)
    mu, sigma = [*values, 1.25], [*widths(values, 0.5, 2.0), 1.5]
    np.testing.assert_allclose(kernels.mu, mu)
    np.testing.assert_allclose(kernels.sigma, sigma)
    at = np.linspace(0.5, 2.0, 50)
    expected = np.mean([truncnorm.pdf(at, (0.5 - m) / s, (2.0 - m) / s, m, s) for m, s in zip(mu, sigma, strict=True)], axis=0)
    ours = np.exp(estimator.log_density({"clock": at}))
    np.testing.assert_allclose(ours / expected, ours[0] / expected[0])  # up to a constant
    drawn = estimator.sample(np.random.RandomState(1), 40_000)["clock"]
    assert drawn.min() >= 0.5 and drawn.max() <= 2.0
    share = np.mean([truncnorm.cdf(1.0, (0.5 - m) / s, (2.0 - m) / s, m, s) for m, s in zip(mu, sigma, strict=True)])
    assert abs(np.mean(drawn <= 1.0) - share) < 0.01  # 4 standard deviations


@pytest.mark.parametrize("name", ["array", "stacks", "share"])
def test_a_table_is_the_mass_around_each_level(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(parzen, "FAR", 0.0)
    distribution = SPACE[name]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    normals = parzen._normals(distribution, seen(SPACE)[name])
    table = normals.table(0.0)
    assert table is not None
    levels = table.low + table.step * np.arange(table.masses.shape[1])
    for mu, sigma, masses in zip(normals.mu, normals.sigma, table.masses, strict=True):
        around = np.diff(norm.cdf([(edge - mu) / sigma for edge in (*(levels - table.step / 2), levels[-1] + table.step / 2)]))
        np.testing.assert_allclose(masses, around / around.sum(), rtol=1e-9)


def test_a_kernel_on_a_coarse_grid_leaves_its_level_with_a_chance_of_one_in_the_number_of_parameters() -> None:
    """Inside a range; at its ends half of the leaving mass is cut off."""
    estimator = ParzenEstimator(GRID, seen(GRID, 200))
    for name, kernels in estimator.kernels.items():
        assert isinstance(kernels, Table)
        masses = kernels.masses
        np.testing.assert_allclose(masses.sum(axis=1), 1.0)
        own = np.rint((seen(GRID, 200)[name] - kernels.low) / kernels.step).astype(int)
        staying = masses[np.arange(200), own]
        inside = (own > 0) & (own < masses.shape[1] - 1) if name != "pim" else np.ones(200, dtype=bool)
        assert staying[inside].max() <= 1 - 1 / len(GRID) + 1e-9
        assert masses[:-1].min() > 0, "every level is within reach"


def test_one_parameter_and_no_observations_are_taken() -> None:
    single: dict[str, BaseDistribution] = {"array": IntDistribution(0, 2)}
    for observations in (seen(single), {"array": np.array([])}, {"array": np.array([1.0])}):
        estimator = ParzenEstimator(single, observations)
        points = estimator.sample(np.random.RandomState(0), 50)
        assert set(points["array"]) == {0.0, 1.0, 2.0}
        assert np.isfinite(estimator.log_density(points)).all()


def test_logarithmic_ranges_and_long_grids_are_drawn_inside_on_their_steps() -> None:
    space: dict[str, BaseDistribution] = {
        "few": IntDistribution(1, 64, log=True), "many": IntDistribution(1, 100_000, log=True),
        "long": FloatDistribution(0.0, 100.0, step=0.1), "rate": FloatDistribution(1e-3, 1e3, log=True)}
    rng = np.random.default_rng(0)
    estimator = ParzenEstimator(space, {"few": rng.integers(1, 65, 12).astype(float), "many": rng.integers(1, 10**5, 12).astype(float),
                                        "long": np.round(rng.random(12) * 100, 1), "rate": 10 ** rng.uniform(-3, 3, 12)})
    assert [isinstance(k, Table) for k in estimator.kernels.values()] == [True, False, False, False]
    points = estimator.sample(np.random.RandomState(0), 2000)
    for name, distribution in space.items():
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        assert points[name].min() >= distribution.low and points[name].max() <= distribution.high
        if distribution.step:
            steps = (points[name] - distribution.low) / distribution.step
            np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert np.isfinite(estimator.log_density(points)).all()
    assert np.median(points["rate"]) < 100, "even over the logarithm, not over the numbers"


def test_weights_move_mass_between_the_observations_only() -> None:
    estimator = ParzenEstimator(SPACE, seen(SPACE))
    observations, prior = len(estimator.weights) - 1, estimator.weights[-1]
    even = estimator.log_density(seen(SPACE))
    shares = np.arange(1.0, observations + 1)
    estimator.weigh(shares / shares.sum())
    np.testing.assert_allclose(estimator.weights, [*(1 - prior) * shares / shares.sum(), prior])
    assert not np.allclose(estimator.log_density(seen(SPACE)), even)
    estimator.weigh(np.full(observations, 1 / observations))
    np.testing.assert_allclose(estimator.log_density(seen(SPACE)), even, rtol=1e-9)


def test_samples_follow_the_densities() -> None:
    estimator = ParzenEstimator(GRID, seen(GRID))
    drawn = estimator.sample(np.random.RandomState(1), 40_000)
    for name, kernels in estimator.kernels.items():
        assert isinstance(kernels, Table)
        expected = estimator.weights @ kernels.masses
        level = np.rint((drawn[name] - kernels.low) / kernels.step).astype(int)
        np.testing.assert_allclose(np.bincount(level, minlength=len(expected)) / 40_000, expected, atol=0.012)


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_the_sampler_works_in_a_study_of_anybody(directions: list[str]) -> None:
    """Define-by-run, with a condition, a continuum and constraints; better than random points by far."""
    def objective(trial: optuna.Trial) -> float | tuple[float, float]:
        x, n = trial.suggest_float("x", -5, 5), trial.suggest_int("n", 1, 64, log=True)
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        y = trial.suggest_float("y", 0, 1) if kind == "a" else 0.5
        value = (x - 1) ** 2 + (n - 8) ** 2 / 64 + (kind != "b") + y
        return value if len(directions) == 1 else (value, -abs(x + 1) - y)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=directions, sampler=BatchTPESampler(batch=4, skip=lambda _: False, seed=0))
    study.optimize(objective, n_trials=80)
    late = [t.values[0] for t in study.trials[40:]]
    early = [t.values[0] for t in study.trials[:10]]
    assert np.median(late) < np.median(early)
    assert len({tuple(t.params.items()) for t in study.trials[10:]}) > 60
