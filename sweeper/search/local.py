"""Pareto local search: neighbours of the designs on the front, after a start by another search.

Paquete, Chiarandini & Stuetzle (2004). A proposal changes one setting of a front member by a step (ordered) or to any
value (unordered); members are taken in turn, and one whose neighbours are all known is passed over. It costs next to
nothing, so it is for budgets of many thousands.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.codes import Coder, Conditions, Params
from sweeper.search.gaussian_process import GaussianProcessSampler
from sweeper.search.relative import Distributions, History, RelativeSampler, Skip, direction_signs, violation
from sweeper.study.front import Front

START_TRIALS = 200  # of the Gaussian process, which finds a first front


class ParetoLocalSampler(RelativeSampler):
    """The sampler called `local`, for discrete parameters; see `RelativeSampler` for the arguments."""

    discrete = True

    def __init__(self, *, seed: int | None = None, search_space: Mapping[str, BaseDistribution] | None = None,
                 skip: Skip | None = None, conditions: Conditions | None = None) -> None:
        super().__init__(seed=seed, search_space=search_space, skip=skip, conditions=conditions)
        self._start = GaussianProcessSampler(seed=seed, search_space=search_space, skip=skip, conditions=conditions)
        self._rng = np.random.default_rng(seed)
        self._coder = Coder({})

    def reseed_rng(self) -> None:
        super().reseed_rng()
        self._start.reseed_rng()
        self._rng = np.random.default_rng()

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> Params:
        """A neighbour of a design on the front that is new and legal; a random point where there is none."""
        if not search_space:
            return {}
        if search_space != self._coder.distributions:
            self._coder = Coder(search_space, self._conditions)
            self._history, self._front = History(), Front(len(study.directions))  # members: rows of codes
            self._told = self._turn = 0
        self._learn(study)
        if self._told < START_TRIALS or not len(self._front):
            return self._start.sample_relative(study, trial, search_space)
        for _ in range(len(self._front)):
            self._turn += 1
            row = self._front.members[self._turn % len(self._front)]
            rows = self._coder.neighbours(row, self._rng.integers(0, self._coder.counts), steps=1)
            for near in rows[self._rng.permutation(len(rows))]:
                params = self._coder.decode(near)
                if not self._skip(params):
                    return params
        return self._coder.decode(self._coder.random(self._rng, 1)[0])

    def _learn(self, study: Study) -> None:
        for trial in self._history.new(study):
            if trial.state == TrialState.FAIL or not self._coder.distributions.keys() <= trial.params.keys():
                continue
            self._told += 1
            if trial.state == TrialState.COMPLETE and violation(trial) <= 0:
                self._front.add(np.array(trial.values) * direction_signs(study), self._coder.encode(trial.params))
