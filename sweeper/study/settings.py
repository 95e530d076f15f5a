"""The settings of a sweep, how its space is searched, which its ledger keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.inputs.errors import InputError
from sweeper.study import ledger
from sweeper.study.ledger import Header


@dataclass(frozen=True)
class SweepSettings:
    """How a space is searched; kept in the ledger so that resume does the same."""

    trials: int
    workers: int
    seed: int
    sampler: str
    deterministic: bool = False
    timeout_s: float | None = None
    trial_timeout_s: float = 300.0  # wall time of a design after which its worker is taken for hung
    tracking_uri: str | None = None
    seeds: tuple[dict[str, Any], ...] = ()  # points that are proposed first (a warm start)
    storage: str | None = None  # of Optuna, to which finished trials are copied (sweeper.sinks.optuna_storage)
    ladder: bool = False  # a proof is tried before a simulation (sweeper.run.proofs)
    planned: int = 0  # trials at the beginning, before a resume asked for more

    @property
    def exhaustive(self) -> bool:
        """Whether every point of the space is evaluated, in order, instead of what a search proposes."""
        return self.sampler == "exhaustive"


def settings_of(header: Header, **changes: Any) -> SweepSettings:
    """The settings in a ledger's header, with those `changes` that are not None."""
    merged = {**header.settings, **{k: v for k, v in changes.items() if v is not None}}
    for name, value in merged.items():
        if name not in _KNOWN or not _KNOWN[name](value):
            raise InputError(f"the header's settings are damaged: {name} is {str(value)[:40]!r}", file=ledger.FILE_NAME)
    if missing := {"trials", "workers", "seed", "sampler"} - merged.keys():
        raise InputError(f"the header's settings are damaged: {min(missing)} is missing", file=ledger.FILE_NAME)
    return SweepSettings(**merged)


def _count(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value < 2**53


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


_KNOWN: dict[str, Callable[[Any], bool]] = {
    "trials": _count(1), "workers": _count(0), "seed": _count(0), "sampler": _is(str), "deterministic": _is(bool),
    "timeout_s": _or_none(_seconds), "trial_timeout_s": _seconds, "tracking_uri": _or_none(_is(str)), "storage": _or_none(_is(str)),
    "seeds": lambda value: isinstance(value, list | tuple) and all(isinstance(point, dict) for point in value),
    "ladder": _is(bool), "planned": _count(0),
}
