"""The effect of one step of each knob on a design: every legal neighbour is simulated as the sweep would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.inputs.errors import InputError
from sweeper.space.objectives import Objective
from sweeper.space.parameters import Choices, Parameter
from sweeper.space.space import Space
from sweeper.study.trial import Trial
from sweeper.workers.evaluator import SimEvaluator
from sweeper.workers.worker import Task, run_task

CONTINUUM_STEPS = 20  # a continuous range is walked in this many steps


@dataclass(frozen=True)
class Change:
    """One knob moved by one step. `trial`: what came of it, None where that design does not exist (`reason` says why).
    gains: objective -> relative improvement, positive is better; only where both designs have a value."""

    parameter: str
    before: Any
    after: Any
    trial: Trial | None
    gains: dict[str, float]
    reason: str = ""


def changes(space: Space, trial: Trial, evaluator: SimEvaluator) -> list[Change]:
    """Every neighbour of the trial's point, in the order of the parameters. Knobs that exist only beside the new value
    (how many PIM stacks, once there is PIM) take their first."""
    found = []
    for parameter in (p for p in space.parameters if p.name in trial.parameters):
        before = trial.parameters[parameter.name]
        for after in neighbours(parameter, before):
            try:
                point = space.canonical({**first_values(space), **trial.parameters, parameter.name: after})
            except InputError as error:
                found.append(Change(parameter.name, before, after, None, {}, str(error)))
                continue
            there = run_task(evaluator, Task(trial.number, point))
            gains = {o.name: gain for o in space.objectives if (gain := _gain(o, trial, there)) is not None}
            found.append(Change(parameter.name, before, after, there, gains, there.reason))
    return found


def neighbours(parameter: Parameter, value: Any) -> Iterator[Any]:
    """The values beside `value`: one down, one up; of choices without an order, all others."""
    domain = parameter.domain
    if isinstance(domain, Choices) and not domain.ordered:
        yield from (other for i, other in enumerate(domain.values) if i != domain.index(value))
    elif domain.count is not None:
        at = domain.index(value)
        yield from (domain.at(i) for i in (at - 1, at + 1) if 0 <= i < domain.count)
    else:
        assert not isinstance(domain, Choices)
        if domain.log:
            ratio = (domain.high / domain.low) ** (1 / CONTINUUM_STEPS)
            near = [value / ratio, value * ratio]
        else:
            step = (domain.high - domain.low) / CONTINUUM_STEPS
            near = [value - step, value + step]
        yield from (v for v in (min(max(v, domain.low), domain.high) for v in near) if v != value)


def first_values(space: Space) -> dict[str, Any]:
    """The first value of every knob, also of those that exist only beside others."""
    return {p.name: p.domain.values[0] if isinstance(p.domain, Choices) else p.domain.low for p in space.parameters}


def best_change(found: list[Change], objective: str) -> Change | None:
    """The feasible change that improves the objective most; None where none does."""
    helping = [c for c in found if c.trial is not None and c.trial.status == "complete" and c.gains.get(objective, 0) > 0]
    return max(helping, key=lambda c: c.gains[objective], default=None)


def _gain(objective: Objective, here: Trial, there: Trial) -> float | None:
    old, new = here.objectives.get(objective.name), there.objectives.get(objective.name)
    if old is None or new is None or not old:
        return None
    return (new - old) / abs(old) * (1 if objective.direction == "maximize" else -1)
