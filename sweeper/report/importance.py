"""The importance of each knob by two methods, on a sample that no search has biased.

- fANOVA (Hutter et al., ICML 2014): each knob's share of an objective's variance over the whole space, by a random forest.
- PED-ANOVA (Watanabe et al., IJCAI 2023): how far the best tenth of the designs differs from all in each knob.

Both are Optuna's. Trials that a search proposed crowd where it saw promise, so they are not used: the sample is the study's
own where its points were random (`random`, `qmc`) or all that there are, else random designs simulated for the report.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.report.simulations import Budget, Simulations
from sweeper.space.objectives import Objective
from sweeper.space.parameters import Choices, Parameter, label
from sweeper.space.space import Space
from sweeper.study import ledger
from sweeper.study.digest import Digest
from sweeper.study.trial import Trial

SAMPLE = 200  # random designs that are simulated
MAX_DRAWN = 1000  # points drawn for them; those that cannot be simulated have no objective
MIN_ROWS = 40  # designs with objectives, below which nothing is said
MAX_ROWS = 400  # of the study's own, evenly chosen; more change little and fANOVA takes longer
TREES = 24
WIDE = 10.0  # an objective that spans more than this factor is taken by its logarithm


@dataclass(frozen=True)
class Importance:
    """Shares (of 1) by knob, for one objective. `log`: of the objective's logarithm."""

    objective: str
    log: bool
    fanova: dict[str, float]
    ped_anova: dict[str, float]


def sample(space: Space, simulations: Simulations, budget: Budget, seed: int = 0) -> tuple[list[Trial], str]:
    """(random designs that have objectives, feasible or not; what they are in words, or why there are none)."""
    rng = random.Random(seed)
    found: dict[str, Trial] = {}
    if not budget.allows(SAMPLE):
        return [], (f"{SAMPLE} random designs at about {budget.seconds_each:.3g} s each would take longer than the report may "
                    "spend; `python -m sweeper report DIR --budget SECONDS` gives it more")
    drawn = 0
    while drawn < MAX_DRAWN and sum(bool(t.objectives) for t in found.values()) < SAMPLE:
        drawn += 1
        point = space.sample(rng)
        if not simulations.known(point) and budget.left_s < 0:
            break
        found[space.key(point)] = simulations.at(point)
    rows = [t for t in found.values() if len(t.objectives) == len(space.objectives)]
    if len(rows) < MIN_ROWS:
        return [], f"only {len(rows)} of {drawn} random designs could be simulated; {MIN_ROWS} are needed"
    return rows, (f"{len(rows)} designs drawn at random over the whole space and simulated for this report "
                  f"({drawn - len(rows)} more could not serve, or repeat one)")


def importances(space: Space, rows: Sequence[Trial]) -> list[Importance]:
    """For each objective. A knob that does not exist in a design counts as a value of its own."""
    names = [p for p in space.parameters if len({label(t.parameters.get(p.name)) for t in rows}) > 1]
    return [_importance(objective, names, rows) for objective in space.objectives] if len(names) > 1 else []


def _importance(objective: Objective, parameters: Sequence[Parameter], rows: Sequence[Trial]) -> Importance:
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
    from optuna.trial import create_trial

    values = np.array([t.objectives[objective.name] for t in rows])
    log = bool(values.min() > 0 and values.max() / values.min() > WIDE)
    if values.min() == values.max():
        return Importance(objective.name, False, {}, {})
    values = np.log(values) if log else values
    distributions = {p.name: _distribution(p) for p in parameters}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both are marked experimental
            study = optuna.create_study(direction=objective.direction)
            study.add_trials([create_trial(params={p.name: _code(p, t) for p in parameters}, distributions=distributions,
                                           value=float(value)) for t, value in zip(rows, values, strict=True)])
            fanova = FanovaImportanceEvaluator(n_trees=TREES, max_depth=16, seed=0).evaluate(study)
            ped = PedAnovaImportanceEvaluator().evaluate(study)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return Importance(objective.name, log, _shares(fanova), _shares(ped))


def _shares(found: dict[str, float]) -> dict[str, float]:
    total = sum(found.values())
    return {name: float(value / total) for name, value in found.items()} if total > 0 else {}


def _distribution(parameter: Parameter) -> Any:
    """Of codes: 0 for absent, then the values in order; numbers of a continuum as they are."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    domain = parameter.domain
    if domain.count is None:
        assert not isinstance(domain, Choices)
        low = domain.low if parameter.when is None else domain.low - (domain.high - domain.low)
        return FloatDistribution(low, domain.high)
    if isinstance(domain, Choices) and not domain.ordered:
        return CategoricalDistribution(list(range(domain.count + 1)))
    return IntDistribution(0, domain.count)


def _code(parameter: Parameter, trial: Trial) -> float | int:
    domain, value = parameter.domain, trial.parameters.get(parameter.name)
    if domain.count is None:
        assert not isinstance(domain, Choices)
        return float(value) if value is not None else domain.low - (domain.high - domain.low)
    return 0 if value is None else domain.index(value) + 1


def own_rows(found: Digest) -> list[Trial]:
    """At most MAX_ROWS of the study's trials inside the space that have objectives, evenly chosen."""
    step = max(found.count // (4 * MAX_ROWS), 1)  # some have no objective
    rows = [t for t in ledger.at_offsets(found.path, found.offsets[::step].tolist()) if t.parameters and t.objectives]
    return rows[:: -(-len(rows) // MAX_ROWS) or 1]
