"""The interface of all device models: `price(operator, *axes) -> Priced`, vectorised over the axes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.model.operators import Operator


class Bound(IntEnum):
    """What limits an operator's time."""

    COMPUTE = 0  # MACs of the matrix unit
    VECTOR = 1  # vector unit
    MEMORY = 2  # device DRAM
    PIM = 3
    NETWORK = 4
    LAUNCH = 5  # dispatch of operators
    ARRAY_FILL = 6  # loading what stays in a systolic array: weights, or keys and values
    HOST = 7  # the engine's CPU time

    @property
    def label(self) -> str:
        """As reports name it."""
        return self.name.lower().replace("_", " ")


class Fidelity(IntEnum):
    """Where a price comes from, best first."""

    MEASURED = 0
    INTERPOLATED = 1
    CALIBRATED = 2
    ANALYTIC = 3


@dataclass(frozen=True)
class Priced:
    """Prices of one operator over arrays of shapes; all arrays have the axes' (broadcast) shape."""

    seconds: NDArray[np.float64]
    joules: NDArray[np.float64]  # dynamic energy of one rank; static power is added over time by the metrics
    bound: NDArray[np.int8]  # Bound
    fidelity: Fidelity


class Device(Protocol):
    """Something that prices operators. Plug-ins implement these two."""

    def fingerprint(self) -> str:
        """Text that differs whenever any price differs: part of every cache key."""
        ...

    def price(self, operator: Operator, *axes: NDArray[np.float64]) -> Priced:
        """Prices `operator` at every shape of `axes` (see `simulator.model.operators.AXES`).

        Raises TypeError for an operator kind the device cannot run.
        """
        ...
