"""The feasible non-dominated designs and the hypervolume they dominate, in a deterministic order.

Objectives are compared as they are, without noise margins; maximised ones are negated, so smaller is better here.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from sweeper.space.objectives import Objective
from sweeper.study.trial import Trial

Points = NDArray[np.float64]
REFERENCE_MARGIN = 0.1  # of each objective's range


def eligible(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials inside the space, one for each design (the first), by number; baselines outside stay apart."""
    seen: set[str] = set()
    result = []
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.status != "complete" or (trial.baseline and not trial.parameters):
            continue
        if trial.design_key and trial.design_key in seen:
            continue
        seen.add(trial.design_key)
        result.append(trial)
    return result


def points(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Points:
    """[trials, objectives], smaller is better."""
    rows = [[t.objectives[o.name] for o in objectives] for t in trials]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives)) * signs(objectives)


def signs(objectives: Sequence[Objective]) -> Points:
    """What turns objectives into costs: 1 for minimised ones, -1 for maximised ones."""
    return np.array([1.0 if o.direction == "minimize" else -1.0 for o in objectives])


def front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The non-dominated eligible trials (equal objective vectors all stay), by first objective, best first."""
    candidates = eligible(trials)
    if not candidates:
        return []
    table = points(candidates, objectives)
    kept = moocore.is_nondominated(table, keep_weakly=True)
    order = sorted(np.flatnonzero(kept), key=lambda i: (*table[i], candidates[i].number))
    return [candidates[i] for i in order]


def reference_point(table: Points) -> Points:
    """The corner that hypervolume is measured to.

    It is the worst value of each objective among all complete designs, moved out by a tenth of the range so that the
    extreme designs count too (by a tenth of the value where all are equal).
    """
    worst, best = table.max(axis=0), table.min(axis=0)
    margin = np.where(worst > best, worst - best, np.maximum(np.abs(worst), 1e-12))
    return np.asarray(worst + REFERENCE_MARGIN * margin)


def hypervolume(table: Points, reference: Points) -> float:
    """The volume dominated by the rows of `table` and bounded by `reference`; smaller objectives are better."""
    return float(moocore.hypervolume(table, ref=reference)) if len(table) else 0.0


def convergence(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[tuple[int, float]]:
    """(trial number, hypervolume after it) at each trial that moved the front, to the final reference point."""
    candidates = eligible(trials)
    if not candidates:
        return []
    table = points(candidates, objectives)
    reference = reference_point(table)
    best = table[:0]
    steps: list[tuple[int, float]] = []
    for trial, row in zip(candidates, table, strict=True):
        if len(best) and bool(np.any(np.all(best <= row, axis=1))):
            continue
        best = np.vstack([best[~np.all(row <= best, axis=1)], row])
        steps.append((trial.number, hypervolume(best, reference)))
    return steps


def best_trial(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The eligible trial with the best value of one objective (the earliest of equals); None without any."""
    sign = 1.0 if objective.direction == "minimize" else -1.0
    return min(eligible(trials), key=lambda t: (sign * t.objectives[objective.name], t.number), default=None)
