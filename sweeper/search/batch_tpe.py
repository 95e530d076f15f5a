"""Batched, de-duplicated multivariate TPE, as an Optuna sampler.

TPE (Bergstra et al., NeurIPS 2011; multivariate, multi-objective and with trials under evaluation counted as bad, as in
Optuna) spends its time on ranking the history and fitting two Parzen estimators. Here one ranking and two fits serve a batch
of suggestions: for each, 24 candidates are drawn from the good estimator, and the best one by the density ratio that is new
and legal is proposed. Apart from that, three things differ from Optuna's. No kernel is narrower than the grid
(sweeper.search.parzen). Good trials count half evenly, as in Optuna, and half by the hypervolume they add (all of it in
MOTPE: Ozaki et al., GECCO 2020). The bad estimator keeps at most 300 kernels, weighted by rank and not by age.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.parzen import ParzenEstimator
from sweeper.search.ranking import best_first, hypervolume_shares
from sweeper.search.relative import Distributions, RelativeSampler, Skip, direction_signs

Float64 = NDArray[np.float64]

CANDIDATES = 24  # per suggestion, Optuna's n_ei_candidates
MAX_BAD_KERNELS = 300
BY_HYPERVOLUME = 0.5  # of the good trials' weight
STARTUP_TRIALS = 10  # random ones
GOOD_SHARE, MOST_GOOD = 0.1, 25  # of the history; the latter for a single objective, as in Optuna
FULL_WEIGHT = 25  # bad trials that weigh 1 (Bergstra et al., ICML 2013); those before rise to it linearly


class BatchTPESampler(RelativeSampler):
    """The sampler called `tpe`; see `RelativeSampler` for the arguments. `batch` suggestions share a fit."""

    def __init__(self, *, seed: int | None = None, search_space: Mapping[str, BaseDistribution] | None = None,
                 skip: Skip | None = None, batch: int = 4) -> None:
        several = None if search_space is None else {name: d for name, d in search_space.items() if not d.single()}
        super().__init__(seed=seed, search_space=several, skip=skip)
        self._rng = np.random.RandomState(seed)
        self._batch = batch
        self._suggestions: deque[dict[str, Any]] = deque()
        self._rows: dict[int, tuple[float, ...]] = {}  # trial number -> internal representation, finished trials
        self._violations: dict[int, float] = {}  # trial number -> sum of violated constraints, finished trials
        self._refused: set[bytes] = set()  # samples that were skipped once: known and illegal points stay so

    def reseed_rng(self) -> None:
        super().reseed_rng()
        self._rng.seed()

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
        """A suggestion; nothing, and so a random point, at the start and where every candidate is known."""
        history = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING))
                   if t.number != trial.number]
        finished = sum(t.state != TrialState.RUNNING for t in history)
        if not search_space or finished < STARTUP_TRIALS:
            return {}
        while self._suggestions and (self._suggestions[0].keys() != search_space.keys()
                                     or self._skip(self._suggestions[0])):
            self._suggestions.popleft()
        if not self._suggestions:
            self._suggestions.extend(self._fresh(study, history, finished, search_space))
        return self._suggestions.popleft() if self._suggestions else {}

    def _fresh(self, study: Study, history: list[FrozenTrial], finished: int, search_space: Distributions) -> list[dict[str, Any]]:
        several = len(study.directions) > 1
        n_good = math.ceil(GOOD_SHARE * finished)
        good, bad = self._split(study, history, n_good if several else min(n_good, MOST_GOOD))
        if len(bad) > MAX_BAD_KERNELS:
            kept = self._rng.choice(len(bad), MAX_BAD_KERNELS, replace=False)
            bad = [bad[i] for i in np.sort(kept)]
        good = [trial for trial in good if search_space.keys() <= trial.params.keys()]
        bad = [trial for trial in bad if search_space.keys() <= trial.params.keys()]
        likely = ParzenEstimator(search_space, self._columns(good, search_space), None if several else _ramp(len(good)))
        unlikely = ParzenEstimator(search_space, self._columns(bad, search_space), _ramp(len(bad)))
        if several:
            likely.weigh(self._worth(study, good))
        samples = likely.sample(self._rng, self._batch * CANDIDATES)
        return self._choose(samples, likely.log_density(samples) - unlikely.log_density(samples), search_space)

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

    def _worth(self, study: Study, good: list[FrozenTrial]) -> Float64:
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

    def _choose(self, samples: dict[str, Float64], merit: Float64, search_space: Distributions) -> list[dict[str, Any]]:
        """Per suggestion the best of its candidates that is new and legal."""
        tried: set[bytes] = set()  # in this batch: a point is suggested once
        columns = np.column_stack([samples[name] for name in search_space])
        chosen: list[dict[str, Any]] = []
        for start in range(0, len(merit), CANDIDATES):
            for offset in np.argsort(-merit[start: start + CANDIDATES], kind="stable"):
                row = columns[start + offset]
                if row.tobytes() in tried or row.tobytes() in self._refused:
                    continue
                tried.add(row.tobytes())
                point = {name: distribution.to_external_repr(value.item())
                         for (name, distribution), value in zip(search_space.items(), row, strict=True)}
                if not self._skip(point):
                    chosen.append(point)
                    break
                self._refused.add(row.tobytes())
        return chosen

    def _columns(self, trials: Sequence[FrozenTrial], search_space: Distributions) -> dict[str, Float64]:
        """Parameter -> its values as numbers. A finished trial is encoded once, not at every fit."""
        rows: list[tuple[float, ...]] = []
        for trial in trials:
            row = self._rows.get(trial.number)
            if row is None or len(row) != len(search_space):
                row = tuple(d.to_internal_repr(trial.params[name]) for name, d in search_space.items())
                if trial.state.is_finished():
                    self._rows[trial.number] = row
            rows.append(row)
        table = np.asarray(rows, dtype=float).reshape(len(rows), len(search_space))
        return {name: table[:, i] for i, name in enumerate(search_space)}


def _ramp(count: int) -> Float64:
    """Weights of `count` trials: the last FULL_WEIGHT count fully."""
    if count < FULL_WEIGHT:
        return np.ones(count)
    return np.concatenate([np.linspace(1.0 / count, 1.0, num=count - FULL_WEIGHT), np.ones(FULL_WEIGHT)])


def _costs(study: Study, trials: list[FrozenTrial]) -> Float64:
    """[trials, objectives], smaller is better."""
    return np.array([trial.values for trial in trials]).reshape(len(trials), len(study.directions)) * direction_signs(study)
