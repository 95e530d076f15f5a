"""The power cap of a device: the highest clock at which its peak power stays below the cap.

The clock is the highest at which a die may keep every unit busy while memory and PIM run at their peaks. Dynamic power of
logic is taken as proportional to the clock at constant voltage: lowering the voltage too would save more, so a capped
clock is on the low side.
"""

from __future__ import annotations

from simulator.design.records.hardware import Hardware
from simulator.inputs.errors import InputError
from simulator.silicon.area import npu_area
from simulator.silicon.power import fixed_w, peak_w


def least_w(hardware: Hardware) -> float:
    """What leakage, memory and PIM take: a cap must be above it."""
    return fixed_w(hardware, _area_mm2(hardware))


def capped(hardware: Hardware) -> Hardware:
    """The hardware at the clock that its power cap allows. Raises InputError where the cap leaves none."""
    cap_w = hardware.power_cap_w
    if cap_w is None:
        return hardware
    fixed = least_w(hardware)
    if fixed >= cap_w:
        raise InputError(f"leakage, memory and PIM take {fixed:.0f} W of {cap_w:.0f} W: no clock is left",
                         key="hardware.power_cap")
    scale = (cap_w - fixed) / max(peak_w(hardware, _area_mm2(hardware)) - fixed, 1e-9)
    if scale >= 1:
        return hardware
    if hardware.npu is not None:
        npu = hardware.npu.model_copy(update={"clock_hz": hardware.npu.clock_hz * scale})
        return hardware.model_copy(update={"npu": npu})
    gpu = hardware.gpu
    assert gpu is not None  # the schema allows a cap on these two only
    rates = {name: getattr(gpu, name) for name in ("clock_hz", "peak_bf16", "peak_fp8", "peak_int8")}
    slower = {name: rate * scale for name, rate in rates.items() if rate is not None}
    return hardware.model_copy(update={"gpu": gpu.model_copy(update={**slower, "power_w": cap_w})})


def _area_mm2(hardware: Hardware) -> float:
    return npu_area(hardware).total if hardware.npu is not None else 0.0
