"""Batched, de-duplicated multivariate TPE over Optuna's TPESampler.

TPE (Bergstra et al., NeurIPS 2011; multivariate and multi-objective as in Optuna) spends its time on ranking the
history and fitting two Parzen estimators. Here one ranking and two fits serve a batch of suggestions: for each, 24 candidates
are drawn from the good estimator, and the best one by the density ratio that is new and legal is proposed. Apart from
that, three things differ from Optuna's. No kernel is narrower than the grid (sweeper.search.parzen). Good trials count
half evenly, as in Optuna, and half by the hypervolume they add (all of it in MOTPE: Ozaki et al., GECCO 2020). The bad
estimator keeps at most 300 kernels, weighted by rank and not by age. It leans on internals of Optuna 5; `usable()` checks
them, and where they have changed the stock sampler takes over.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import sampler as internals
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.parzen import TableParzenEstimator
from sweeper.search.ranking import best_first, hypervolume_shares

CANDIDATES = 24  # per suggestion, Optuna's n_ei_candidates
MAX_BAD_KERNELS = 300
BY_HYPERVOLUME = 0.5  # of the good trials' weight
STARTUP_TRIALS = 10


class BatchTPESampler(TPESampler):
    """`skip(params)` tells points (as Optuna parameters) that must not be proposed; `batch` suggestions share a fit."""

    def __init__(self, *, batch: int, skip: Callable[[dict[str, Any]], bool], seed: int) -> None:
        super().__init__(multivariate=True, constant_liar=True, seed=seed, n_startup_trials=STARTUP_TRIALS,
                         n_ei_candidates=CANDIDATES)
        self._parzen_estimator_cls = TableParzenEstimator
        self._batch, self._skip = batch, skip
        self._suggestions: deque[dict[str, Any]] = deque()
        self._rows: dict[int, tuple[float, ...]] = {}  # trial number -> internal representation, finished trials
        self._violations: dict[int, float] = {}  # trial number -> sum of violated constraints, finished trials
        self._refused: set[bytes] = set()  # samples that were skipped once: known and illegal points stay so

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if len(search_space) < 2:  # one parameter sampled on its own: nothing to batch
            return super()._sample(study, trial, search_space)
        while self._suggestions and (self._suggestions[0].keys() != search_space.keys()
                                     or self._skip(self._suggestions[0])):
            self._suggestions.popleft()
        if not self._suggestions:
            self._suggestions.extend(self._fresh(study, trial, search_space))
        if not self._suggestions:  # every candidate is known: let the caller find an unseen point
            return super()._sample(study, trial, search_space)
        return self._suggestions.popleft()

    def _fresh(self, study: Study, trial: FrozenTrial,
               search_space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        history = [t for t in study._get_trials(deepcopy=False, states=states, use_cache=False)
                   if t.number != trial.number]
        finished = sum(t.state != TrialState.RUNNING for t in history)
        gamma = internals.default_gamma_multiobjective if len(study.directions) > 1 else internals.default_gamma
        good, bad = self._split(study, history, gamma(finished))
        if len(bad) > MAX_BAD_KERNELS:
            kept = self._rng.rng.choice(len(bad), MAX_BAD_KERNELS, replace=False)
            bad = [bad[i] for i in np.sort(kept)]
        good_kernels = self._build_parzen_estimator(study, search_space, good, handle_below=True)
        bad_kernels = self._build_parzen_estimator(study, search_space, bad, handle_below=False)
        if len(study.directions) > 1:
            assert isinstance(good_kernels, TableParzenEstimator)
            good_kernels.weigh(self._worth(study, good))
        samples = good_kernels.sample(self._rng.rng, self._batch * CANDIDATES)
        merit = self._compute_acquisition_func(samples, good_kernels, bad_kernels)
        return self._choose(samples, merit, search_space)

    def _split(self, study: Study, history: list[FrozenTrial], n_good: int) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Good and bad trials as Optuna splits them: feasible before infeasible, by non-domination rank, by violation.

        In the rank that does not fit whole, those that add most hypervolume are good (Optuna solves a subset selection
        problem there, which costs more than all the rest).
        """
        feasible: list[FrozenTrial] = []
        infeasible: list[tuple[float, FrozenTrial]] = []
        bad = [t for t in history if t.state == TrialState.RUNNING]
        for trial in history:
            if trial.state == TrialState.RUNNING:
                continue
            violation = self._violation(trial)
            if violation > 0 or trial.state != TrialState.COMPLETE:
                infeasible.append((violation, trial))
            else:
                feasible.append(trial)
        order = best_first(_costs(study, feasible), n_good)
        infeasible.sort(key=lambda pair: pair[0])
        ranked = [*(feasible[i] for i in order), *(trial for _, trial in infeasible)]
        return ranked[:n_good], [*ranked[n_good:], *bad]

    def _worth(self, study: Study, good: list[FrozenTrial]) -> np.ndarray:
        """Weights of good trials: half evenly, half by what the feasible ones add to their hypervolume."""
        worth = np.full(len(good), 1.0 / max(len(good), 1))
        feasible = np.flatnonzero([t.state == TrialState.COMPLETE and self._violation(t) <= 0 for t in good])
        if len(feasible) > 1:
            worth *= 1.0 - BY_HYPERVOLUME
            worth[feasible] += BY_HYPERVOLUME * hypervolume_shares(_costs(study, [good[i] for i in feasible]))
        return worth

    def _violation(self, trial: FrozenTrial) -> float:
        if trial.number not in self._violations:
            self._violations[trial.number] = sum(v for v in trial.constraints.values() if v > 0)
        return self._violations[trial.number]

    def _choose(self, samples: dict[str, np.ndarray], merit: np.ndarray,
                search_space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
        """Per suggestion the best of its candidates that is new and legal."""
        names = list(search_space)
        tried: set[bytes] = set()  # in this batch: a point is suggested once
        columns = np.column_stack([samples[name] for name in names])
        chosen: list[dict[str, Any]] = []
        for start in range(0, len(merit), CANDIDATES):
            for offset in np.argsort(-merit[start: start + CANDIDATES], kind="stable"):
                row = columns[start + offset]
                if row.tobytes() in tried or row.tobytes() in self._refused:
                    continue
                tried.add(row.tobytes())
                point = {name: search_space[name].to_external_repr(value.item())
                         for name, value in zip(names, row, strict=True)}
                if not self._skip(point):
                    chosen.append(point)
                    break
                self._refused.add(row.tobytes())
        return chosen

    def _get_internal_repr(self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution],
                           study: Study) -> dict[str, np.ndarray]:
        """As the base class, with finished trials remembered: a trial is encoded once, not at every fit."""
        rows: list[tuple[float, ...]] = []
        for trial in trials:
            row = self._rows.get(trial.number)
            if row is None or len(row) != len(search_space):
                params = self._get_params(trial, study)
                if not search_space.keys() <= params.keys():
                    continue
                row = tuple(d.to_internal_repr(params[name]) for name, d in search_space.items())
                if trial.state.is_finished():
                    self._rows[trial.number] = row
            rows.append(row)
        table = np.asarray(rows, dtype=float).reshape(len(rows), len(search_space))
        return {name: table[:, i] for i, name in enumerate(search_space)}


def _costs(study: Study, trials: list[FrozenTrial]) -> np.ndarray:
    """[trials, objectives], smaller is better."""
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in study.directions]
    return np.array([trial.values for trial in trials]).reshape(len(trials), len(signs)) * signs


def usable() -> bool:
    """Whether the installed Optuna still has the internals that the batched sampler leans on."""
    expected = {"_build_parzen_estimator": ["self", "study", "search_space", "trials", "handle_below"],
                "_compute_acquisition_func": ["self", "samples", "mpe_below", "mpe_above"],
                "_get_internal_repr": ["self", "trials", "search_space", "study"],
                "_sample": ["self", "study", "trial", "search_space"],
                "_get_params": ["self", "trial", "study"],
                "_sample_relative": ["self", "study", "trial", "search_space"]}
    methods = all(_arguments(getattr(TPESampler, name, None)) == names for name, names in expected.items())
    gammas = hasattr(internals, "default_gamma_multiobjective") and hasattr(internals, "default_gamma")
    return methods and gammas and hasattr(TPESampler(), "_parzen_estimator_cls") and _estimates()


def _estimates() -> bool:
    """Whether the estimator's kernels are still made as the tables take them."""
    space: dict[str, BaseDistribution] = {"level": IntDistribution(0, 2), "choice": CategoricalDistribution(["a", "b"])}
    seen = {name: np.array([0.0, 1.0]) for name in space}
    try:
        estimator = TableParzenEstimator(seen, space, TPESampler()._parzen_estimator_parameters)
        return bool(np.isfinite(estimator.log_pdf(seen)).all())
    except (AttributeError, TypeError, IndexError):
        return False


def _arguments(function: Any) -> list[str] | None:
    return None if function is None else list(inspect.signature(function).parameters)
