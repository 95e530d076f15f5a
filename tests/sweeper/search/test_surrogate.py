"""The Gaussian process interpolates, and the search over it finds fronts with few trials."""

from __future__ import annotations

from pathlib import Path

import moocore
import numpy as np
import pytest

from sweeper.search.codes import ABSENT, Coder
from sweeper.search.extremes import conditions_of
from sweeper.search.gaussian import NOISE, fit, kernel, length_scales
from sweeper.space.legality import broken_rule
from sweeper.space.space import Space
from sweeper.study.front import points
from sweeper.workers.worker import Task
from tests.sweeper.inline import machine, smooth
from tests.sweeper.run.test_loop import Run


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return machine(tmp_path_factory.mktemp("space"))


def test_the_kernel_is_the_matern_of_the_textbook() -> None:
    # Rasmussen & Williams (2006), equation 4.17
    r = 0.7
    expected = (1 + np.sqrt(5) * r + 5 * r * r / 3) * np.exp(-np.sqrt(5) * r)
    assert kernel(np.array([[0.2]]), np.array([[0.9]]))[0, 0] == pytest.approx(expected)


def test_the_process_goes_through_its_data_and_knows_where_it_does_not_know() -> None:
    x = np.linspace(0, 1, 12)[:, None]
    outputs = np.column_stack([np.sin(6 * x[:, 0]), x[:, 0] ** 2])
    model = fit(x, outputs, np.array([0.4]))
    mean, deviation = model.predict(x)
    assert np.abs(mean - outputs).max() < 0.02
    between, _ = model.predict(np.array([[0.53]]))
    assert between[0] == pytest.approx([np.sin(6 * 0.53), 0.53 ** 2], abs=0.01)
    _, far = model.predict(np.array([[3.0]]))
    assert (deviation.max(axis=0) < 3 * np.sqrt(NOISE) * outputs.std(axis=0)).all()
    assert (far[0] > 0.9 * outputs.std(axis=0)).all()


def test_length_scales_grow_where_a_parameter_does_not_matter() -> None:
    x = np.random.default_rng(0).random((60, 2))
    scales = length_scales(x, np.sin(6 * x[:, :1]), np.array([0, 1]), np.ones(2), sweeps=4)
    assert scales[1] > 4 * scales[0]


def test_rows_mean_points_and_absent_parameters_are_marked(space: Space) -> None:
    coder = Coder(space.distributions(), conditions_of(space))
    rows = coder.random(np.random.default_rng(1), 300)
    for row in rows:
        params = coder.decode(row)
        point = space.decode(params)
        assert [p.name for p, code in zip(space.parameters, row, strict=True) if code != ABSENT] == list(point)
        assert coder.encode(params).tolist() == row.tolist()
    assert (rows == ABSENT).any()
    assert np.isfinite(coder.features(rows)).all()
    assert coder.features(rows).shape == (300, len(coder.owners))


@pytest.mark.slow
def test_it_finds_nearly_all_of_the_true_front_in_120_trials(space: Space, tmp_path: Path) -> None:
    evaluate = smooth(space)
    legal = [p for p in space.enumerate() if broken_rule(space, p) is None][::7]
    truth = points([t for t in (evaluate(Task(0, p)) for p in legal) if t.status == "complete"], space.objectives)
    corner = np.quantile(truth, 0.9, axis=0)
    volumes = {}
    for sampler in ("gp", "random"):
        run = Run(space, sampler, trials=120, seed=3, polish=False)
        found = points([t for t in run.trials if t.status == "complete" and not t.baseline], space.objectives)
        volumes[sampler] = moocore.hypervolume(np.minimum(found, corner), ref=corner)
    best = moocore.hypervolume(np.minimum(truth, corner), ref=corner)  # of a seventh of the space
    assert volumes["gp"] > 0.99 * best
    assert volumes["random"] < 0.97 * volumes["gp"]
