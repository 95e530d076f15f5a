"""The verdict on a design: objectives and constraint violations from its metrics, and the reason in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.design.design import Design
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from simulator.result import Violation
from sweeper.space.expressions.expression import UndefinedError
from sweeper.space.expressions.symbols import Flat, flatten
from sweeper.space.legality import ILLEGAL
from sweeper.space.objectives import Constraint
from sweeper.space.space import Space
from sweeper.study.replication import Samples, objective_shares, undecided_constraints
from sweeper.study.trial import MOST_VALUE, Status


@dataclass(frozen=True)
class Verdict:
    """What a Trial says about its outcome; constraints are signed relative violations (<= 0 holds)."""

    status: Status
    objectives: dict[str, float] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    replicates: dict[str, list[float]] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Checked:
    """A point after everything that needs no simulation. `verdict` is set where it is already decided: infeasible."""

    design: Design | None
    flat: Flat
    verdict: Verdict | None
    design_key: str = ""


def check(space: Space, values: Mapping[str, Any]) -> Checked:
    """Builds the design at a canonical point and checks what the design alone decides, cheapest first."""
    flat = space.flat(values)
    verdict = _static(space, flat)
    if verdict is not None:
        return Checked(None, flat, verdict)
    try:
        design, key = space.keyed_design(values)
    except InputError as error:
        return Checked(None, flat, Verdict("infeasible", {}, {ILLEGAL: 1.0}, _without_file(error)))
    return Checked(design, flat, None, key)


def check_design(space: Space, design: Design) -> Checked:
    """As `check`, for a design that is given as such (a baseline)."""
    flat = flatten(design)
    return Checked(design, flat, _static(space, flat), design_key(design))


def impossible(found: Sequence[Violation]) -> Verdict:
    """What the simulator itself rules out: memory fit, divisibility, ..."""
    return Verdict("infeasible", {}, {v.name: v.amount for v in found}, f"{found[0].name}: {found[0].message}")


def judge(space: Space, flat: Flat, metrics: Mapping[str, float], samples: Samples | None = None) -> Verdict:
    """The verdict after a simulation. `flat`: the design's keys (`Checked.flat`); metrics in their own units.

    Objectives of infeasible designs are kept where they have a value; an objective without one fails the trial.
    samples: of a design with replicates, whose `metrics` are means (`sweeper.study.replication`); the means decide.
    """
    values = {**metrics, **flat}
    if space.replicates > 1:
        verdict = _judge_values(space, values)
        widths = undecided_constraints(space, values, samples or {}, space.replicates)
        shares = objective_shares(space, values, samples or {}, space.replicates)
        return replace(verdict, reason=_with_noise(verdict, widths), replicates=shares, unsure=list(widths))
    return _judge_values(space, values)


def _judge_values(space: Space, values: Mapping[str, Any]) -> Verdict:
    """The verdict on `values`: metrics and design keys."""
    violated, reason = _violations(space.constraints, values)
    objectives: dict[str, float] = {}
    missing = ""
    for objective in space.objectives:
        try:
            value = objective.value(values)
            if abs(value) > MOST_VALUE:
                raise UndefinedError(f"{value:g} is beyond {MOST_VALUE:g}")
            objectives[objective.name] = value
        except UndefinedError as error:
            missing = missing or f"objective {objective.name} has no value: {error}"
    if reason:
        return Verdict("infeasible", objectives, violated, reason)
    if missing:
        return Verdict("failed", objectives, violated, missing)
    return Verdict("complete", objectives, violated)


def _with_noise(verdict: Verdict, widths: Mapping[str, float]) -> str:
    """The reason, with the half-width where the constraint it names may hold as well as not."""
    name = verdict.reason.split(":")[0]
    return f"{verdict.reason} ± {widths[name]:.1%}" if name in widths else verdict.reason


def _static(space: Space, flat: Flat) -> Verdict | None:
    violated, reason = _violations(space.static_constraints, flat)
    return Verdict("infeasible", {}, violated, reason) if reason else None


def _violations(constraints: Iterable[Constraint], values: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """Every constraint's violation, and the worst violated one in words ('' where all hold).

    A constraint without a value on this design counts as violated by 1 (100 %).
    """
    found: dict[str, float] = {}
    why: dict[str, str] = {}
    for constraint in constraints:
        try:
            found[constraint.name] = constraint.expression.violation(values)
        except UndefinedError as error:
            found[constraint.name] = 1.0
            why[constraint.name] = f"has no value: {error}"
    worst = max(found, key=lambda name: found[name], default="")
    if not worst or found[worst] <= 0:
        return found, ""
    return found, f"{worst}: {why.get(worst, f'violated by {found[worst]:.1%}')}"


def _without_file(error: InputError) -> str:
    return str(InputError(error.message, key=error.key))
