"""Static and peak power of one accelerator with its PIM stacks; dynamic energy is counted operator by operator."""

from __future__ import annotations

import math
from dataclasses import replace

from simulator.design.records.hardware import Hardware, Pim
from simulator.devices import dram
from simulator.devices.pim_timing import TIMINGS, PimTiming, Unit
from simulator.silicon import energy

# Leakage and clock of an idle but powered die: TPU v4 idles at 90 W, its die is below 600 mm2 (Jouppi, ISCA 2023).
STATIC_W_PER_MM2 = 0.15
# A GPU's idle share of its power limit: A100 50 to 60 of 400 W, H100 some 70 of 700 W (idle boards in nvidia-smi).
GPU_STATIC_SHARE = 0.12
# Standby and refresh of one DRAM channel: 1.2 V, IDD3N 55 mA, IDD5AB 250 mA (NewtonSim HBM2_8Gb_x128 .ini).
_VDD, _IDD3N, _IDD5AB = 1.2, 0.055, 0.250


def stack_static_w(kind: str) -> float:
    """Standby and refresh power of one stack or device."""
    part = dram.preset(kind)
    refresh = part.refresh_s / part.refresh_interval_s
    return part.channels * _VDD * (_IDD3N + (_IDD5AB - _IDD3N) * refresh)


def static_w(hardware: Hardware, area_mm2: float) -> float:
    """Power of one accelerator, its memory and its PIM stacks that does not depend on work."""
    pim = hardware.pim
    stacks = hardware.added_stacks * stack_static_w(pim.kind)
    if (listed := _listed_w(hardware)) is not None:
        return listed * GPU_STATIC_SHARE + stacks
    memory = hardware.memory
    return area_mm2 * STATIC_W_PER_MM2 + memory.stacks * stack_static_w(memory.kind) + stacks


def _listed_w(hardware: Hardware) -> float | None:
    """Board power of a datasheet, where there is one."""
    if hardware.device is not None:
        return hardware.device.power_w
    return hardware.gpu.power_w if hardware.gpu is not None and hardware.gpu.power_w else None


def fixed_w(hardware: Hardware, area_mm2: float) -> float:
    """Power that does not follow the clock: leakage and standby, device memory at full speed, PIM at work."""
    memory = hardware.memory
    reading = dram.bandwidth_bytes_per_s(memory) * 8 * dram.preset(memory.kind).pj_per_bit * energy.PICO
    total = static_w(hardware, area_mm2) + reading
    if hardware.pim_stacks and hardware.pim_kind in TIMINGS:
        total += hardware.pim_stacks * pim_stack_peak_w(hardware.pim, TIMINGS[hardware.pim_kind])
    return total


def peak_w(hardware: Hardware, area_mm2: float) -> float:
    """Power with every unit busy: as listed where a datasheet says it, else `fixed_w`, arrays and vector unit."""
    if (listed := _listed_w(hardware)) is not None:
        return listed
    total = fixed_w(hardware, area_mm2)
    if hardware.npu is not None:
        npu = hardware.npu
        macs = npu.arrays * npu.array[0] * npu.array[1]
        total += npu.clock_hz * energy.PICO * (macs * energy.mac_pj(16) + npu.vector_lanes * energy.VECTOR_OP_PJ)
    return total


def mac_command_j(part: PimTiming, unit: Unit) -> float:
    """Dynamic energy of one MAC command in all channels of a stack, on 16-bit data."""
    banks = part.channels * part.token_units * part.banks
    units = {"bank": banks, "bank_group": banks // part.banks, "buffer": part.channels * part.pseudo_channels}[unit]
    read_pj = energy.CELL_ACTIVATE_PJ_PER_BIT + energy.pim_read_pj_per_bit(unit)
    return units * part.column_bytes * 8 * (read_pj + energy.mac_pj(16) / 16) * energy.PICO


def spaced(part: PimTiming, pim: Pim) -> PimTiming:
    """`part` with MAC commands as far apart, in whole cycles, as the power cap of a stack asks where there is one."""
    if pim.stack_power_w is None:
        return part
    needed = math.ceil(mac_command_j(part, pim.unit) / (pim.stack_power_w * part.clock_s) - 1e-9)
    spacing = max(part.mac_spacing, needed)
    return replace(part, mac_spacing=spacing, limited_spacing=spacing)


def pim_stack_peak_w(pim: Pim, part: PimTiming) -> float:
    """Dynamic power of one PIM stack that issues MAC commands back to back on 16-bit data."""
    capped = spaced(part, pim)
    spacing = capped.burst if pim.unit == "buffer" else capped.limited_spacing if pim.power_limited else capped.mac_spacing
    return mac_command_j(part, pim.unit) / (spacing * part.clock_s)
