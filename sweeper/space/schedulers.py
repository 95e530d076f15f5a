"""The schedulers of a space's designs, and what those cost that the compiled kernel does not run."""

from __future__ import annotations

import contextlib

from simulator.design.load import validate
from simulator.engine.engine import times_slower
from simulator.inputs.errors import InputError
from sweeper.space.parameters import Choices
from sweeper.space.space import Space


def schedulers(space: Space) -> list[str]:
    """Names in the order in which the space comes to them: the base design's, those that its parameters lead to one by one, the
    baselines'."""
    found = [validate(space.base).serving.scheduler]
    for parameter in space.parameters:
        if not isinstance(parameter.domain, Choices) or not any(_decides(key) for key in parameter.keys):
            continue
        for value in parameter.domain.values:
            with contextlib.suppress(InputError):
                found.append(space.design_with({key: parameter.written(value) for key in parameter.keys}).serving.scheduler)
    found += [baseline.design.serving.scheduler for baseline in space.baselines]
    return list(dict.fromkeys(found))


def slow_schedulers(space: Space) -> list[str]:
    """A line on each scheduler that runs on the reference engine."""
    return [f"scheduler {name} runs on the reference engine: about {times_slower(name):,} times slower"
            for name in schedulers(space) if times_slower(name) > 1]


def _decides(key: str) -> bool:
    return key in ("serving", "serving.scheduler", "engine") or key.startswith("engine.scheduler")
