"""The names of samplers, as data: a space file and the command line may name them without loading any."""

from __future__ import annotations

from simulator.inputs import plugins
from simulator.inputs.errors import InputError, nearest

NAMES = ("gp", "tpe", "local", "nsga2", "nsga3", "random", "qmc")
ALL_NAMES = ("auto", "exhaustive", *NAMES)


def check_name(name: str, key: str = "study.sampler") -> str:
    """The name, where a sampler has it. Raises InputError with the nearest one otherwise; key: who says the name."""
    known = [*ALL_NAMES, *plugins.declared(plugins.SAMPLERS_GROUP)]
    if name not in known:
        raise InputError(f"unknown sampler '{name}'; {nearest(name, known)}", key=key)
    return name
