"""What-if slices: one knob of a chosen design takes each of its values, all others stay; every point is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.inputs.errors import InputError
from sweeper.explain.knobs import first_values
from sweeper.report.picks import Pick
from sweeper.report.simulations import Budget, Simulations
from sweeper.space.parameters import Choices, Parameter
from sweeper.space.space import Space, Values
from sweeper.study.trial import Trial

MAX_VALUES = 9  # of one knob; of more, an even choice that has the design's own value


@dataclass(frozen=True)
class Step:
    """The knob at one value. `trial` None: that design does not exist, `reason` says why."""

    value: Any
    trial: Trial | None
    reason: str = ""


@dataclass(frozen=True)
class Slice:
    """One knob around one design; `own`: the step that is the design itself."""

    number: int  # of the trial
    parameter: str
    steps: list[Step]
    own: int


def slices(space: Space, chosen: Sequence[Pick], simulations: Simulations, budget: Budget) -> tuple[list[Slice], str]:
    """(slices, why some of the designs have none) for as many of `chosen`, in order, as the budget allows."""
    found: list[Slice] = []
    left_out: list[int] = []
    for pick in chosen:
        if not pick.trial.parameters:  # a baseline outside the space has no knobs
            continue
        planned = [(p, steps) for p in space.parameters if p.name in pick.trial.parameters
                   for steps in [_points(space, pick.trial, p)]]
        needed = sum(point is not None and not simulations.known(point) for _, steps in planned for _, point, _ in steps)
        if not budget.allows(needed):
            left_out.append(pick.trial.number)
            continue
        for parameter, steps in planned:
            made = [Step(value, None if point is None else simulations.at(point), why) for value, point, why in steps]
            own = next(i for i, step in enumerate(made) if step.value == pick.trial.parameters[parameter.name])
            found.append(Slice(pick.trial.number, parameter.name, made, own))
    why = "" if not left_out else (
        f"left out for trial {', '.join(map(str, left_out))}: simulations take about {budget.seconds_each:.3g} s each, more "
        "than the report may spend; `python -m sweeper report DIR --budget SECONDS` gives it more")
    return found, why


def slice_values(parameter: Parameter, own: Any) -> list[Any]:
    """At most MAX_VALUES values of the parameter with `own` among them, in order."""
    domain = parameter.domain
    if domain.count is not None:
        picked = sorted({round(i * (domain.count - 1) / (MAX_VALUES - 1)) for i in range(MAX_VALUES)}
                        if domain.count > MAX_VALUES else range(domain.count))
        return [domain.at(i) for i in sorted({*picked, domain.index(own)})]
    assert not isinstance(domain, Choices)
    shares = [i / (MAX_VALUES - 1) for i in range(MAX_VALUES)]
    if domain.log:
        return sorted({domain.low * (domain.high / domain.low) ** share for share in shares} | {own})
    return sorted({domain.low + (domain.high - domain.low) * share for share in shares} | {own})


def _points(space: Space, trial: Trial, parameter: Parameter) -> list[tuple[Any, Values | None, str]]:
    """(value, canonical point, why there is none) along the parameter. Knobs that exist only there take their first value."""
    found: list[tuple[Any, Values | None, str]] = []
    for value in slice_values(parameter, trial.parameters[parameter.name]):
        try:
            found.append((value, space.canonical({**first_values(space), **trial.parameters, parameter.name: value}), ""))
        except InputError as error:
            found.append((value, None, str(error)))
    return found
