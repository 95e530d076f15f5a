"""The Optuna study of a search, asked and told: the filter between a sampler and the workers.

A point that is known or illegal is never evaluated and costs no trial: the study is told what is known of it, and asked
again. Points that the sampler did not propose (a warm start's, neighbours of the best designs, random stand-ins) are
added to the study when their result is there. Ordered choices are the study's integers, their index.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.codes import Params
from sweeper.search.extremes import Extremes, Polish
from sweeper.search.optuna_trials import constraints, outcome
from sweeper.space.legality import illegal
from sweeper.space.space import Space, Values
from sweeper.study.trial import Trial

MAX_REPEATS = 20  # proposals of known points in a row before an unseen random one stands in
MAX_RANDOM = 2_000  # random points tried before the space counts as exhausted
MAX_JUDGED = 10_000  # points whose legality is remembered

optuna.logging.set_verbosity(logging.ERROR)


@dataclass(frozen=True)
class Proposal:
    """A canonical point to evaluate, and the study's trial where the sampler proposed it."""

    point: Values
    asked: optuna.trial.Trial | None = None


class Proposer:
    """Proposes new, legal points. Deterministic in its seed and in the order of calls.

    sampler: makes the study's sampler from what says that a point (as Optuna parameters) needs no proposal. rejected: counts
    proposals that are illegal, by the rule they break. first: points that come before the sampler's own. polish: when
    neighbours of the best designs are proposed; None: never.
    """

    def __init__(self, space: Space, sampler: Callable[[Callable[[Params], bool]], BaseSampler], *, seed: int,
                 rejected: Counter[str] | None = None, first: Sequence[Values] = (), polish: Polish | None = None) -> None:
        self._space = space
        self._distributions = space.distributions()
        self._first = list(reversed(first))
        self._random = random.Random(seed)
        self._known: dict[str, Trial | None] = {}  # None: under evaluation
        self._judged: dict[str, str | None] = {}  # by key: what `illegal` says
        self._spent = 0  # of the budget, points under evaluation included
        self._polish = polish
        self._extremes = Extremes(space, self._skip) if polish is not None and Extremes.possible(space) else None
        self.rejected = Counter[str]() if rejected is None else rejected
        self.study = optuna.create_study(
            directions=space.directions, sampler=sampler(lambda params: self._skip(space.decode(params))))

    def next(self) -> Proposal | None:
        """A new, legal point, marked as under evaluation; None when there is none left."""
        for _ in range(MAX_REPEATS):
            proposal = self._unasked() or self._ask()
            key = self._space.key(proposal.point)
            rule = self._broken_rule(key, proposal.point)
            if rule is None and key not in self._known:
                return self._begun(key, proposal)
            if rule is not None:
                self.rejected[rule] += 1
            self._tell(proposal, self._known.get(key))
        return self._unseen()

    def finished(self, proposal: Proposal, trial: Trial) -> None:
        """What became of a point."""
        self._remember(trial)
        self._tell(proposal, trial)

    def take_over(self, trials: Sequence[Trial]) -> None:
        """Replays trials of an earlier run; their designs are not proposed again."""
        ours = [trial for trial in trials if not trial.baseline]
        for trial in ours:
            self._spent += 1
            self._remember(trial)
        self.study.add_trials([self._frozen(trial) for trial in ours if trial.status != "pruned"])

    def _remember(self, trial: Trial) -> None:
        self._known[self._space.key(trial.parameters)] = trial
        self._spent -= bool(trial.rung)
        if self._extremes is not None:
            self._extremes.learn(trial)

    def _unasked(self) -> Proposal | None:
        """A point that comes before what the sampler would propose."""
        if self._first:
            return Proposal(self._first.pop())
        if self._extremes is not None and self._polish is not None and self._polish.due(self._spent):
            point = self._extremes.next()
            return None if point is None else Proposal(point)
        return None

    def _ask(self) -> Proposal:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's notices on experimental samplers
            asked = self.study.ask(self._distributions)
        return Proposal(self._space.decode(asked.params), asked)

    def _tell(self, proposal: Proposal, trial: Trial | None) -> None:
        """None, and a trial that was given up, are FAIL, which samplers ignore."""
        trial = None if trial is not None and trial.status == "pruned" else trial
        asked = proposal.asked
        if asked is None:
            if trial is not None:
                self.study.add_trial(self._frozen(trial))
            return
        state, values = (TrialState.FAIL, None) if trial is None else outcome(trial, self._space)
        for name, amount in ({} if trial is None else constraints(trial)).items():
            asked.set_constraint(name, amount)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.study.tell(asked, values, state)

    def _frozen(self, trial: Trial) -> FrozenTrial:
        state, values = outcome(trial, self._space)
        encoded = self._space.encode(trial.parameters)
        absent = random.Random(trial.number)  # Optuna asks for every parameter, also for those a point does not have
        parameters = {name: encoded[name] if name in encoded else _any_value(distribution, absent)
                      for name, distribution in self._distributions.items()}
        return optuna.trial.create_trial(state=state, values=values, params=parameters, distributions=self._distributions,
                                         constraints=constraints(trial))

    def _begun(self, key: str, proposal: Proposal) -> Proposal:
        self._known[key] = None
        self._spent += 1
        return proposal

    def _skip(self, point: Mapping[str, Any]) -> bool:
        """Whether a canonical point is known or illegal."""
        key = self._space.key(point)
        return key in self._known or self._broken_rule(key, point) is not None

    def _broken_rule(self, key: str, point: Mapping[str, Any]) -> str | None:
        """`illegal`, once for each point: samplers ask about the same one several times."""
        if key not in self._judged:
            if len(self._judged) >= MAX_JUDGED:
                self._judged.clear()
            self._judged[key] = illegal(self._space, point)
        return self._judged[key]

    def _unseen(self) -> Proposal | None:
        for _ in range(MAX_RANDOM):
            point = self._space.sample(self._random)
            key = self._space.key(point)
            if key not in self._known and self._broken_rule(key, point) is None:
                return self._begun(key, Proposal(point))
        return None


def _any_value(distribution: BaseDistribution, rng: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    low, high, step = distribution.low, distribution.high, getattr(distribution, "step", None)  # type: ignore[attr-defined]
    if step is None:
        return rng.uniform(low, high)
    return distribution.to_external_repr(low + step * rng.randrange(round((high - low) / step) + 1))
