"""The plug-ins of other packages, found through Python entry points, one group for each kind."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from simulator.inputs.errors import InputError, nearest

GROUP = "llm_serving_sweeper.devices"
METRICS_GROUP = "llm_serving_sweeper.metrics"
SAMPLERS_GROUP = "llm_serving_sweeper.samplers"


def declared(group: str) -> dict[str, EntryPoint]:
    """The entry points that installed packages declare in a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def find(name: str, group: str = GROUP, kind: str = "device") -> EntryPoint:
    """The entry point that an installed package declares under `name`. Raises InputError with the nearest name."""
    found = declared(group)
    if name not in found:
        fix = nearest(name, found) if found else f"no installed package declares one (entry points '{group}')"
        raise InputError(f"unknown {kind} plug-in '{name}'; {fix}")
    return found[name]
