"""Metrics that other packages provide: a function of the design and its result, under a name of its own.

A package declares it as an entry point of `llm_serving_sweeper.metrics`; the entry point is a `MetricPlugin`. From then on
its name can be used like the built-in ones in objectives, constraints, tables and MLflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from simulator.inputs import plugins
from simulator.inputs.errors import InputError
from simulator.results.metrics import ALL_METRICS, Metric

if TYPE_CHECKING:
    from simulator.design.design import Design
    from simulator.result import Result


@dataclass(frozen=True)
class MetricPlugin:
    """unit: one of the built-in metrics' units; doc: its meaning in a sentence; value: a pure function, in that unit."""

    unit: str
    doc: str
    value: Callable[[Design, Result], float]


@cache
def metric_plugins() -> Mapping[str, MetricPlugin]:
    """The metrics that installed packages declare, by name; from then on `ALL_METRICS` has them. Raises InputError where
    one cannot be loaded or has a name or a unit that does not go."""
    found = {name: _load(name) for name in plugins.declared(plugins.METRICS_GROUP)}
    ALL_METRICS.update({name: Metric(name, own.unit, own.doc) for name, own in found.items()})
    return found


def measure_plugins(design: Design, result: Result) -> dict[str, float]:
    """Their values for a result. Raises InputError naming the metric whose function fails."""
    values = {}
    for name, own in metric_plugins().items():
        try:
            values[name] = float(own.value(design, result))
        except Exception as error:
            raise InputError(f"metric plug-in '{name}' failed: {type(error).__name__}: {error}") from error
    return values


def _load(name: str) -> MetricPlugin:
    if name in ALL_METRICS or not name.isidentifier():
        raise InputError(f"metric plug-in '{name}' needs a name of letters, digits and _ that no built-in metric has")
    try:
        own = plugins.find(name, plugins.METRICS_GROUP, "metric").load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"metric plug-in '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(own, MetricPlugin):
        raise InputError(f"metric plug-in '{name}' must be a simulator.results.metric_plugins.MetricPlugin, "
                         f"got {type(own).__name__}")
    units = {metric.unit for metric in ALL_METRICS.values()}
    if own.unit not in units:
        raise InputError(f"metric plug-in '{name}' has the unit '{own.unit}', expected one of: "
                         f"{', '.join(sorted(unit or 'none (empty text)' for unit in units))}")
    return own
