"""Proofs from bounds, without a simulation: a design misses a constraint, or a known design beats it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sweeper.space.expressions import intervals
from sweeper.space.expressions.intervals import Interval
from sweeper.space.expressions.symbols import Flat
from sweeper.space.objectives import Objective
from sweeper.space.space import Space
from sweeper.study.front import dominates, signs
from sweeper.workers.verdict import Verdict

Rival = tuple[int, tuple[float, ...]]  # a simulated design on the front: trial number, objectives in their units


def proved(space: Space, flat: Flat, metrics: Mapping[str, Interval], rivals: Sequence[Rival]) -> Verdict | None:
    """The verdict that holds whatever a simulation would say; None where one is needed.

    A design is dominated where even its best case is no better than a rival in any objective and worse in one: it cannot
    be on the front. Where an objective has no bound nothing is proved.
    """
    for constraint in space.constraints:
        floor = intervals.violation_floor(constraint.expression.tree, flat, metrics)
        if floor > 0:
            return Verdict("infeasible", {}, {constraint.name: floor},
                           f"{constraint.name}: violated by at least {floor:.1%}, as its bounds prove")
    best = [_best_case(objective, flat, metrics) for objective in space.objectives]
    if not all(math.isfinite(value) for value in best):
        return None
    sign = signs(space.objectives)
    for number, values in rivals:
        if dominates(sign * values, sign * best):
            return Verdict("pruned", reason=f"dominated by trial {number}: " + ", ".join(
                _compared(o, own, value) for o, own, value in zip(space.objectives, best, values, strict=True)))
    return None


def _best_case(objective: Objective, flat: Flat, metrics: Mapping[str, Interval]) -> float:
    low, high = intervals.number(objective.expression.tree, flat, metrics)
    return (low if objective.direction == "minimize" else high) / objective.scale


def _compared(objective: Objective, bound: float, value: float) -> str:
    sign = ">=" if objective.direction == "minimize" else "<="
    unit = f" {objective.shown_unit}" if objective.shown_unit else ""
    return f"{objective.name} bound {sign} {bound:.6g}{unit} vs value {value:.6g}{unit}"
