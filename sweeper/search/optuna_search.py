"""Any Optuna sampler over an in-memory study, by ask and tell.

`sweeper.search.optuna_trials` says which state a trial has; a point that was dropped, or given up on the ladder, is FAIL,
which samplers ignore.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.base import Proposal
from sweeper.search.optuna_trials import constraints, outcome
from sweeper.space.space import Space
from sweeper.study.trial import Trial

optuna.logging.set_verbosity(logging.ERROR)


class OptunaSearch:
    """`name` says which sampler, `sampler` is it."""

    def __init__(self, name: str, space: Space, sampler: BaseSampler) -> None:
        self.name = name
        self._space = space
        self._distributions = space.distributions()
        self._study = optuna.create_study(directions=space.directions, sampler=sampler)

    def ask(self) -> Proposal | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's notices on experimental samplers
            trial = self._study.ask(self._distributions)
        return Proposal(self._space.decode(trial.params), trial)

    def tell(self, proposal: Proposal, trial: Trial | None) -> None:
        handle = proposal.handle
        if trial is not None and trial.status == "pruned":
            trial = None
        if handle is None:  # not asked for (a random stand-in): learn from it all the same
            if trial is not None:
                self._study.add_trial(self._frozen(trial))
            return
        state, values = (TrialState.FAIL, None) if trial is None else outcome(trial, self._space)
        if trial is not None:
            for name, amount in constraints(trial).items():
                handle.set_constraint(name, amount)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.tell(handle, values, state)

    def replay(self, trials: Sequence[Trial]) -> None:
        self._study.add_trials([self._frozen(trial) for trial in trials if trial.parameters and trial.status != "pruned"])

    def _frozen(self, trial: Trial) -> FrozenTrial:
        state, values = outcome(trial, self._space)
        encoded = self._space.encode(trial.parameters)
        absent = random.Random(trial.number)  # Optuna asks for every parameter, also for those a point does not have
        parameters = {name: encoded[name] if name in encoded else _any_value(distribution, absent)
                      for name, distribution in self._distributions.items()}
        return optuna.trial.create_trial(
            state=state, values=values, params=parameters, distributions=self._distributions, constraints=constraints(trial))


def _any_value(distribution: BaseDistribution, rng: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    low, high, step = distribution.low, distribution.high, getattr(distribution, "step", None)  # type: ignore[attr-defined]
    if step is None:
        return rng.uniform(low, high)
    return distribution.to_external_repr(low + step * rng.randrange(round((high - low) / step) + 1))
