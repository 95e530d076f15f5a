"""The one-line bottleneck summary of each of the best designs, from a second simulation with its breakdown."""

from __future__ import annotations

from simulator.inputs.errors import InputError
from simulator.result import Infeasible
from simulator.simulate import simulate
from sweeper.space.space import Space
from sweeper.study.results import trial_design
from sweeper.study.trial import Trial

MAX_SECONDS = 2.0  # designs that took longer are not simulated again just for a line
SHOWN = 2


def why(space: Space, trial: Trial) -> str:
    """'memory 71 %, compute 22 %; most time in decode_attention 38 %, gate_up 21 %'; '' where it cannot be said."""
    if trial.seconds > MAX_SECONDS:
        return ""
    try:
        result = simulate(trial_design(space, trial))
    except (InputError, Infeasible):
        return ""
    bounds = _shares(result.bound_s)
    operators = _shares({op.name: op.seconds for op in result.operators})
    return f"{bounds}; most time in {operators}" if bounds and operators else bounds


def devices(space: Space, trial: Trial) -> str:
    """'16 = TP4 x PP2 x 2 replicas'."""
    try:
        p = trial_design(space, trial).parallelism
    except InputError:
        return ""
    parts = [f"TP{p.tensor}" if p.tensor > 1 else "", f"PP{p.pipeline}" if p.pipeline > 1 else "",
             f"{p.replicas} replicas" if p.replicas > 1 else ""]
    product = " x ".join(part for part in parts if part)
    return f"{p.devices} = {product}" if product else str(p.devices)


def _shares(seconds: dict[str, float]) -> str:
    """The largest parts of a sum, as shares."""
    total = sum(seconds.values())
    if total <= 0:
        return ""
    largest = sorted(seconds.items(), key=lambda item: -item[1])[:SHOWN]
    return ", ".join(f"{name} {value / total:.0%}" for name, value in largest if value > 0)
