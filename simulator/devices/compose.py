"""Helpers that all device models share: the slowest of an operator's parts, and a fingerprint of a frozen record."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.devices.device import Bound, Fidelity, Priced

Float64 = NDArray[np.float64]


def slowest(parts: list[tuple[Bound, Float64]]) -> tuple[Float64, NDArray[np.int8]]:
    """Elementwise largest of the parts' seconds, and which part that was."""
    seconds = parts[0][1]
    bound = np.full(seconds.shape, int(parts[0][0]), dtype=np.int8)
    for kind, part in parts[1:]:
        bound[part > seconds] = int(kind)
        seconds = np.maximum(seconds, part)
    return seconds, bound


def priced(overhead_s: Float64 | float, parts: list[tuple[Bound, Float64]], joules: Float64,
           fidelity: Fidelity = Fidelity.ANALYTIC) -> Priced:
    """overhead (launch, pipeline fill) + the slowest part; LAUNCH where the overhead is the larger."""
    seconds, bound = slowest(parts)
    bound[overhead_s > seconds] = int(Bound.LAUNCH)
    return Priced(seconds + overhead_s, joules, bound, fidelity)


def fingerprint_of(kind: str, version: int, record: Any) -> str:
    """Text of a frozen dataclass's fields. `version` counts changes of the model's formulae."""
    values = " ".join(f"{f.name}={getattr(record, f.name)!r}" for f in fields(record))
    return f"{kind}.{version} {values}"
