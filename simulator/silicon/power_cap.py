"""The power cap of a device: it slows the operators that would exceed it, and no others.

An operator draws its dynamic energy over its time. Where that is more than the limit leaves after idling (and PIM at
work in the same package), it takes as long as the limit asks: a large matrix product slows, a read of memory does not.
Energy stays: a governor that lowers the voltage with the clock would save some, so a capped device is on the slow side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.hardware import Hardware
from simulator.devices.device import Bound, Device, Priced
from simulator.inputs.errors import InputError
from simulator.model.operators import Operator
from simulator.silicon.power import least_w

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class PowerLimited:
    """`device`, whose dynamic power stays below `dynamic_w`."""

    device: Device
    dynamic_w: float

    def fingerprint(self) -> str:
        return f"limited.1 {self.dynamic_w!r} | {self.device.fingerprint()}"

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`."""
        found = self.device.price(operator, *axes)
        slowed = found.joules / self.dynamic_w
        bound = np.where(slowed > found.seconds, np.int8(Bound.COMPUTE), found.bound)
        return Priced(np.maximum(found.seconds, slowed), found.joules, bound, found.fidelity)

    def __getattr__(self, name: str) -> Any:
        """Launch times and the like are the device's own; its vector unit is limited as well."""
        if name.startswith("__") or name == "device":
            raise AttributeError(name)
        value = getattr(self.device, name)
        return PowerLimited(value, self.dynamic_w) if name == "vector_unit" else value


def limited(device: Device, hardware: Hardware) -> Device:
    """`device` under the hardware's power cap; itself where there is none. Raises InputError where the cap leaves nothing.

    Datasheet boards run inside their own limit without a cap: their efficiencies are of sustained rates.
    """
    cap_w = hardware.power_cap_w
    if cap_w is None:
        return device
    least = least_w(hardware)
    if least >= cap_w:
        raise InputError(f"idling and PIM take {least:.0f} W of {cap_w:.0f} W: nothing is left to compute with",
                         key="hardware.power_cap")
    return PowerLimited(device, cap_w - least)
