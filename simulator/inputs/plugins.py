"""Devices that other packages bring: Python entry points of one group."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from simulator.inputs.errors import InputError, nearest

GROUP = "llm_serving_sweeper.devices"


def find(name: str) -> EntryPoint:
    """The entry point that an installed package declares under `name`. Raises InputError with the nearest name."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        fix = nearest(name, found) if found else f"no installed package declares one (entry points '{GROUP}')"
        raise InputError(f"unknown device plug-in '{name}'; {fix}")
    return found[name]
