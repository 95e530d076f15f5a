"""The batched TPE learns, respects constraints, and tells Optuna what became of each point."""

import warnings

import numpy as np
import pytest
from moocore import pareto_rank
from optuna.trial import TrialState

from sweeper.search import batch_tpe
from sweeper.search.batch_tpe import BatchTPESampler
from sweeper.search.proposer import Proposal, Proposer
from sweeper.search.samplers import build_proposer
from sweeper.space.space import Space
from sweeper.study.front import hypervolume, points
from sweeper.study.trial import Trial
from tests.sweeper.inline import machine
from tests.sweeper.run.test_loop import Run


def proposer(space: Space, sampler: str = "tpe") -> Proposer:
    return build_proposer(sampler, space, seed=1, in_flight=4)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return machine(tmp_path_factory.mktemp("space"))


def test_tpe_finds_more_than_random_with_the_same_number_of_trials(space: Space) -> None:
    volumes: dict[str, list[float]] = {"tpe": [], "random": []}
    corner = np.array([100.0, 0.0, 100.0])  # ms, requests/s (negated), USD/h
    for sampler, found in volumes.items():
        for seed in (1, 2):
            run = Run(space, sampler, trials=150, seed=seed, polish=False)
            table = points([t for t in run.trials if t.status == "complete" and not t.baseline], space.objectives)
            found.append(hypervolume(np.minimum(table, corner), corner))
    assert min(volumes["tpe"]) > max(volumes["random"])


def test_a_batch_shares_one_split_of_the_history(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []
    real = BatchTPESampler._split
    monkeypatch.setattr(BatchTPESampler, "_split", lambda self, s, t, n: splits.append(n) or real(self, s, t, n))
    Run(space, "tpe", trials=60, polish=False)
    learned = 60 - len(space.baselines) - batch_tpe.STARTUP_TRIALS
    assert learned / 4 <= len(splits) <= learned / 3


def test_results_are_told_by_what_they_are(space: Space) -> None:
    search = proposer(space)
    objectives = {o.name: 1.0 for o in space.objectives}
    told = [
        ({"status": "complete", "objectives": objectives, "constraints": {"slo": -0.5}}, TrialState.COMPLETE),
        ({"status": "infeasible", "objectives": objectives, "constraints": {"slo": 0.5}}, TrialState.COMPLETE),
        ({"status": "infeasible", "constraints": {"memory_fit": 0.25}}, TrialState.PRUNED),
        ({"status": "failed", "reason": "crashed"}, TrialState.FAIL),
        ({"status": "pruned", "reason": "dominated by trial 0"}, TrialState.FAIL),
    ]
    for number, (outcome, _) in enumerate(told):
        proposal = search.next()
        assert proposal is not None
        search.finished(proposal, Trial(number, proposal.point, **outcome))
    assert [t.state for t in search.study.trials] == [state for _, state in told]
    assert [t.constraints for t in search.study.trials[:3]] == [{"slo": -0.5}, {"slo": 0.5}, {"memory_fit": 0.25}]
    assert [t.number for t in search.study.best_trials] == [0]


def test_replayed_trials_are_the_history_that_was_told(space: Space) -> None:
    run = Run(space, "tpe", trials=40)
    first = proposer(space)
    first.take_over(run.trials)
    ours = [t for t in run.trials if not t.baseline]
    assert [t.values for t in first.study.trials] == [[trial.objectives[o.name] for o in space.objectives] for trial in ours]
    assert [space.decode(t.params) for t in first.study.trials] == [trial.parameters for trial in ours]


def test_points_unasked_for_are_learned_from_too(space: Space) -> None:
    search = proposer(space)
    point = next(space.enumerate())
    search.finished(Proposal(point), Trial(0, point, "complete", objectives={o.name: 1.0 for o in space.objectives}))
    assert [space.decode(t.params) for t in search.study.trials] == [point]


def test_asking_warns_nobody(space: Space) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("tpe", "nsga2", "qmc", "random"):
            assert proposer(space, name).next() is not None


def test_good_trials_are_feasible_first_then_of_lower_rank(space: Space) -> None:
    run = Run(space, "random", trials=150)
    search = proposer(space)
    search.take_over(run.trials)
    study, trials = search.study, search.study.trials
    signs = np.array([1.0 if d == "minimize" else -1.0 for d in space.directions])
    feasible = [t for t in trials if max(t.constraints.values()) <= 0]
    ranks = dict(zip([t.number for t in feasible], pareto_rank(np.array([t.values for t in feasible]) * signs), strict=True))
    for n_good in (1, 5, 15, 60, len(trials) - 1):
        good, rest = BatchTPESampler(batch=4, skip=lambda _: False, seed=0)._split(study, trials, n_good)
        assert len(good) == n_good
        assert sorted(t.number for t in (*good, *rest)) == [t.number for t in trials]
        assert sum(t.number in ranks for t in good) == min(n_good, len(feasible))
        left_out = [ranks[t.number] for t in rest if t.number in ranks]
        assert max((ranks[t.number] for t in good if t.number in ranks), default=0) <= min(left_out, default=len(trials))
