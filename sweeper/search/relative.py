"""What our samplers share: which parameters they propose together, and the history of a study, told once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from sweeper.search.codes import Conditions, Params, count

Distributions = dict[str, BaseDistribution]
Float64 = NDArray[np.float64]
Skip = Callable[[Params], bool]  # whether a point needs no proposal


class RelativeSampler(BaseSampler):
    """Proposes all parameters together; random values for those that it does not know yet.

    seed: None draws one. search_space: the parameters and their distributions; None: those that all finished trials have.
    skip: tells points that must not be proposed, known or illegal ones. conditions: which parameters exist where.
    """

    discrete = False  # whether continuous parameters are left to chance

    def __init__(self, *, seed: int | None = None, search_space: Mapping[str, BaseDistribution] | None = None,
                 skip: Skip | None = None, conditions: Conditions | None = None) -> None:
        self._independent = RandomSampler(seed=seed)
        self._given = None if search_space is None else dict(search_space)
        self._common = IntersectionSearchSpace(include_pruned=True)
        self._skip = skip or (lambda _: False)
        self._conditions = conditions

    def reseed_rng(self) -> None:
        self._independent.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        if self._given is not None:
            return self._given
        common = self._common.calculate(study).items()
        return {name: d for name, d in common if not d.single() and not (self.discrete and count(d) is None)}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)


class History:
    """The finished trials of a study, each once, by number as far as they are finished."""

    def __init__(self) -> None:
        self._next = 0
        self._open: list[int] = []  # numbers below `_next` that were not finished

    def new(self, study: Study) -> Iterator[FrozenTrial]:
        """Those that finished since the last call."""
        trials = study.get_trials(deepcopy=False)
        waiting, self._open = [*self._open, *range(self._next, len(trials))], []
        self._next = len(trials)
        for number in waiting:
            if trials[number].state.is_finished():
                yield trials[number]
            else:
                self._open.append(number)


def direction_signs(study: Study) -> Float64:
    """[objectives]: what turns values into costs, smaller is better."""
    return np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions])


def violation(trial: FrozenTrial) -> float:
    """The worst constraint's (`trial.set_constraint`); above 0 where it does not hold."""
    return max(trial.constraints.values(), default=-1.0)
