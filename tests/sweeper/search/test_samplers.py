"""Our samplers in anybody's study, and what a search of ours does at its end."""

import optuna
import pytest

from sweeper.samplers import BatchTPESampler, GaussianProcessSampler, ParetoLocalSampler
from sweeper.search.extremes import SHARE, Extremes, Polish
from sweeper.space.space import Space
from sweeper.study.trial import Trial
from tests.sweeper.inline import machine


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return machine(tmp_path_factory.mktemp("space"))


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """A grid of 8 x 8 x 3 whose first objective is 0 in one cell only; kind 'c' is infeasible."""
    x, y = trial.suggest_int("x", 0, 7), trial.suggest_int("y", 0, 7)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    trial.set_constraint("not_c", 1.0 if kind == "c" else -1.0)
    return (x - 5) ** 2 + (y - 2) ** 2 + (kind == "b") - 2 * (kind == "c"), x + y


@pytest.mark.parametrize("sampler", [BatchTPESampler, GaussianProcessSampler, ParetoLocalSampler])
def test_they_find_the_best_feasible_cell_of_any_study(sampler: type[GaussianProcessSampler]) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler(seed=3))
    study.optimize(objective, n_trials=90)
    feasible = [t for t in study.trials if t.params["kind"] != "c"]
    assert min(t.values[0] for t in feasible) == 0
    again = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler(seed=3))
    again.optimize(objective, n_trials=90)
    assert [t.params for t in again.trials] == [t.params for t in study.trials]


def test_the_last_share_is_for_the_extremes() -> None:
    polish = Polish(400)
    assert [polish.due(spent) for spent in (0, round(400 * (1 - SHARE)) - 1, round(400 * (1 - SHARE)), 399)] == [
        False, False, True, True]
    assert [polish.due(spent) for spent in (400, 401, 402, 403, 404)] == [True, False, False, False, True]


def test_the_first_candidate_is_a_neighbour_of_a_best_design(space: Space) -> None:
    first = next(space.enumerate())
    extremes = Extremes(space, lambda point: point == first)
    assert extremes.next() is None  # nothing is known
    extremes.learn(Trial(0, first, "complete", objectives={o.name: 1.0 for o in space.objectives}))
    found = extremes.next()
    assert found is not None and space.canonical(found) == found
    assert sum(found[name] != value for name, value in first.items()) == 1
