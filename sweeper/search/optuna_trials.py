"""A trial as Optuna keeps it: state, values and constraints. The one mapping, for searches and for `--storage`."""

from __future__ import annotations

import math

from optuna.trial import TrialState

from sweeper.space.space import Space
from sweeper.study.trial import Trial

LARGEST = 1e300  # of a violation: databases refuse infinity


def outcome(trial: Trial, space: Space) -> tuple[TrialState, list[float] | None]:
    """(state, values in the order of the objectives, None where the state has none).

    COMPLETE where the trial has every objective (an infeasible one shows by its constraints), FAIL where it failed, PRUNED
    where it was infeasible or given up without a result. Samplers learn from all but FAIL.
    """
    values = [trial.objectives.get(objective.name, math.nan) for objective in space.objectives]
    if trial.status in ("complete", "infeasible") and all(map(math.isfinite, values)):
        return TrialState.COMPLETE, values
    return TrialState.FAIL if trial.status == "failed" else TrialState.PRUNED, None


def constraints(trial: Trial) -> dict[str, float]:
    """Name -> signed violation (<= 0 holds), finite."""
    return {name: min(max(amount, -LARGEST), LARGEST) for name, amount in trial.constraints.items()}
