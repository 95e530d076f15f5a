"""A sampler: random points, and for every feasible trial a neighbour that differs in one parameter."""

import random

from optuna.samplers import BaseSampler, RandomSampler


class Neighbours(BaseSampler):
    """Works in any Optuna study. Deterministic in the seed and the order of calls, as every sampler must be."""

    def __init__(self, seed=None):
        self._random, self._independent = random.Random(seed), RandomSampler(seed=seed)
        self._good = []  # parameters of feasible trials

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def before_trial(self, study, trial):
        near = self._random.choice(self._good) if self._good and self._random.random() < 0.5 else {}
        self._kept = dict(near)
        self._kept.pop(self._random.choice(sorted(near)) if near else None, None)

    def sample_independent(self, study, trial, param_name, param_distribution):
        if param_name in self._kept:
            return self._kept[param_name]
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study, trial, state, values):
        if values is not None and all(amount <= 0 for amount in trial.constraints.values()):
            self._good.append(dict(trial.params))
