"""What a device's time and power rest on, decided and worded here for every list, table and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.design.records.hardware import Hardware

Basis = Literal["calibrated on measurements", "datasheet only"]
MEASURED: Basis = "calibrated on measurements"
DATASHEET: Basis = "datasheet only"


@dataclass(frozen=True)
class Evidence:
    """What seconds and watts of one device rest on."""

    time: Basis
    power: Basis

    def __str__(self) -> str:
        if self.time == self.power:
            return f"time and power {self.time}"
        return f"time {self.time}, power {self.power}"


def evidence(hardware: Hardware) -> Evidence:
    """Of one device: time is calibrated where its operators were measured (tables, or constants fitted on this very device),
    power where its idle and active power were. A record that was changed since keeps what it says of itself."""
    gpu = hardware.gpu
    timed = hardware.tables is not None or (gpu is not None and gpu.calibrated)
    metered = gpu is not None and gpu.energy is not None and gpu.energy.calibrated
    return Evidence(MEASURED if timed else DATASHEET, MEASURED if metered else DATASHEET)
