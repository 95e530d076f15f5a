"""Any Optuna sampler over an in-memory study, by ask and tell.

Told states: complete and metric-infeasible trials are COMPLETE with named constraints (`set_constraint`); a point that
was infeasible without a simulation has constraints but no values, so it is PRUNED, which TPE learns from too;
failures and dropped points are FAIL, which samplers ignore.
"""

from __future__ import annotations

import logging
import math
import random
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.base import Proposal
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
        state, values = _state(trial, self._space)
        if handle is None:  # not asked for (a random stand-in): learn from it all the same
            if trial is not None:
                self._study.add_trial(self._frozen(trial))
            return
        if trial is not None:
            for name, amount in trial.constraints.items():
                handle.set_constraint(name, _bounded(amount))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.tell(handle, values, state)

    def replay(self, trials: Sequence[Trial]) -> None:
        self._study.add_trials([self._frozen(trial) for trial in trials if trial.parameters])

    def _frozen(self, trial: Trial) -> FrozenTrial:
        state, values = _state(trial, self._space)
        encoded = self._space.encode(trial.parameters)
        absent = random.Random(trial.number)  # Optuna asks for every parameter, also for those a point does not have
        parameters = {name: encoded[name] if name in encoded else _any_value(distribution, absent)
                      for name, distribution in self._distributions.items()}
        return optuna.trial.create_trial(
            state=state, values=values, params=parameters, distributions=self._distributions,
            constraints={name: _bounded(amount) for name, amount in trial.constraints.items()})


def _state(trial: Trial | None, space: Space) -> tuple[TrialState, list[float] | None]:
    if trial is None or trial.status in ("failed", "pruned"):
        return TrialState.FAIL, None
    values = [trial.objectives.get(objective.name, math.nan) for objective in space.objectives]
    if all(map(math.isfinite, values)):
        return TrialState.COMPLETE, values
    return (TrialState.PRUNED if trial.constraints else TrialState.FAIL), None


def _bounded(amount: float) -> float:
    return min(max(amount, -1e300), 1e300)


def _any_value(distribution: BaseDistribution, rng: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    low, high, step = distribution.low, distribution.high, getattr(distribution, "step", None)  # type: ignore[attr-defined]
    if step is None:
        return rng.uniform(low, high)
    return distribution.to_external_repr(low + step * rng.randrange(round((high - low) / step) + 1))
