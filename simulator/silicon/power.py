"""Idle and board power of one accelerator with its PIM stacks; dynamic energy is counted operator by operator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from simulator.design.records.hardware import Hardware, Pim
from simulator.design.records.silicon import Silicon
from simulator.devices import dram
from simulator.devices.pim_timing import TIMINGS, PimTiming, Unit
from simulator.silicon import energy
from simulator.silicon.area import area_mm2
from simulator.silicon.nodes import ENERGY

# Leakage and clock of an idle die with its driver's context: 0.13 W/mm2 and 3 W a stack give an H100 121 W (measured 121.7
# with a CUDA context, arXiv 2605.23918 and sglang issue 27567).
STATIC_W_PER_MM2 = 0.13
HBM_STACK_STATIC_W = 3.0
# Of a board whose die is not given: context idle of H100, A100 and L40S is 0.17, 0.20 and 0.29 of their limit (the same).
CONTEXT_IDLE_SHARE = 0.20
# Standby and refresh of one channel of other DRAM: 1.2 V, IDD3N 55 mA, IDD5AB 250 mA (NewtonSim HBM2_8Gb_x128 .ini).
_VDD, _IDD3N, _IDD5AB = 1.2, 0.055, 0.250
# What a device draws besides idling while any kernel runs, over its limit: 100 of 700 W on an H100 (222 W at no load, fitted
# to measured serving power, less 122 W idle).
ACTIVE_SHARE = 0.14
# What the largest matrix products do on a full board: share of the peak rate, share of memory bandwidth used meanwhile. Settled
# together with the energy constants on shipped accelerators (scripts/validate_silicon.py).
SUSTAINED_SHARE = 0.9
MEMORY_BESIDE_MATRIX = 0.3


@dataclass(frozen=True)
class GpuEnergy:
    """Energy constants of a GPU or of another device with a datasheet: watts, picojoules."""

    idle_w: float  # with a context, no kernel running
    active_w: float  # besides, while any kernel runs
    matrix_pj_per_flop: float  # 16-bit
    matrix_pj_per_flop_8bit: float
    path_pj_per_bit: float  # DRAM cell to register
    vector_pj_per_op: float


# A DRAM bit's way on the chip (L2, network, register), pJ: H100's fitted 13 at the board less its device's 3.6. It grows
# with the node's wires and logic: an RTX 3090's 28.7 at the board (8 nm, GDDR6X) less 7.3 are 2.3 times as much, where
# logic at 8 nm takes 2.2 times 4 nm's.
ON_CHIP_PATH_PJ_PER_BIT = 9.4
ON_CHIP_PATH_NM = 4


def stack_static_w(kind: str) -> float:
    """Standby and refresh power of one stack or device."""
    if kind.startswith("HBM"):
        return HBM_STACK_STATIC_W
    part = dram.preset(kind)
    return part.channels * _VDD * (_IDD3N + (_IDD5AB - _IDD3N) * part.refresh_s / part.refresh_interval_s)


def static_w(hardware: Hardware, area: float) -> float:
    """Power of one accelerator of `area` mm2, its memory and its PIM stacks that does not depend on work."""
    stacks = hardware.added_stacks * stack_static_w(hardware.pim.kind)
    if hardware.npu is None:
        return gpu_energy(hardware).idle_w + stacks
    die = area * STATIC_W_PER_MM2 * energy.voltage_factor(hardware.silicon)
    return die + hardware.memory.stacks * stack_static_w(hardware.memory.kind) + stacks


def gpu_energy(hardware: Hardware) -> GpuEnergy:
    """Energy constants of a device with a datasheet: as its record gives them, else from its board power.

    The largest 16-bit and 8-bit matrix products are taken to draw the limit: energy per FLOP is what idling and active
    baseline leave of it, over the rate that those products reach.
    """
    listed = _listed_w(hardware) or 0.0
    die = area_mm2(hardware)
    gpu = hardware.gpu
    given = gpu.energy if gpu is not None else None
    idle = min(die * STATIC_W_PER_MM2 + hardware.memory.stacks * stack_static_w(hardware.memory.kind),
               0.3 * listed) if die else CONTEXT_IDLE_SHARE * listed
    if given is not None and given.idle_w is not None:
        idle = given.idle_w
    active = given.active_w if given is not None and given.active_w is not None else ACTIVE_SHARE * listed
    left = max(listed - idle - active, 0.0)
    if gpu is not None:
        rate_16, rate_8 = gpu.peak_bf16 * gpu.compute_efficiency, (gpu.peak_fp8 or gpu.peak_int8 or gpu.peak_bf16) * (
            gpu.compute_efficiency_8bit if gpu.peak_fp8 or gpu.peak_int8 else gpu.compute_efficiency)
        nm = gpu.process_nm or ON_CHIP_PATH_NM
    else:
        own = hardware.device
        assert own is not None
        rate_16, rate_8, nm = own.peak_bf16 * SUSTAINED_SHARE, (own.peak_8bit or own.peak_bf16) * SUSTAINED_SHARE, ON_CHIP_PATH_NM
    path = dram.preset(hardware.memory.kind).pj_per_bit + ON_CHIP_PATH_PJ_PER_BIT * ENERGY[nm] / ENERGY[ON_CHIP_PATH_NM]
    if given is not None and given.path_pj_per_bit is not None:
        path = given.path_pj_per_bit
    matrix = given.matrix_pj_per_flop if given is not None and given.matrix_pj_per_flop is not None else left / rate_16 * 1e12
    matrix_8 = min(left / rate_8 * 1e12, matrix) if left else 0.0
    return GpuEnergy(idle, active, matrix, matrix_8, path, matrix * energy.VECTOR_OVER_MATRIX)


def _listed_w(hardware: Hardware) -> float | None:
    """Board power of a datasheet, where there is one."""
    if hardware.device is not None:
        return hardware.device.power_w
    return hardware.gpu.power_w if hardware.gpu is not None and hardware.gpu.power_w else None


def limit_w(hardware: Hardware) -> float | None:
    """What the package may draw: its cap, or its datasheet's board power; None where nothing limits it."""
    listed = _listed_w(hardware)
    return min(hardware.power_cap_w or math.inf, listed or math.inf) if hardware.power_cap_w or listed else None


def streaming_w(hardware: Hardware) -> float:
    """Dynamic power while device memory streams and nothing else works."""
    memory = hardware.memory
    if hardware.npu is not None:
        return dram.bandwidth_bytes_per_s(memory) * 8 * energy.NPU_PATH_PJ_PER_BIT[memory.kind] * energy.PICO
    spent = gpu_energy(hardware)
    share = hardware.gpu.memory_efficiency if hardware.gpu is not None else dram.preset(memory.kind).efficiency
    return spent.active_w + share * dram.peak_bandwidth_bytes_per_s(memory) * 8 * spent.path_pj_per_bit * energy.PICO


def pim_w(hardware: Hardware) -> float:
    """Power of all PIM stacks at work on 16-bit data, standby apart."""
    if not hardware.pim_stacks or hardware.pim_kind not in TIMINGS:
        return 0.0
    return hardware.pim_stacks * pim_stack_peak_w(hardware.pim, TIMINGS[hardware.pim_kind])


def least_w(hardware: Hardware) -> float:
    """What idling and PIM at work take: a cap must be above it."""
    return static_w(hardware, area_mm2(hardware)) + pim_w(hardware)


def matrix_board_w(area: float, process_nm: int, flops_per_s: float, bytes_per_s: float, kind: str, stacks: float,
                   silicon: Silicon) -> float:
    """Board power of an accelerator that multiplies matrices at `flops_per_s` (16 bits) while its memory works at its usual share:
    what TDPs are made of. `area` in mm2, `bytes_per_s` at the pins, of `stacks` of `kind`."""
    idle = area * STATIC_W_PER_MM2 * energy.voltage_factor(silicon) + stacks * stack_static_w(kind)
    multiplying = flops_per_s * energy.mac_pj(silicon, process_nm) / 2 * energy.PICO
    reading = MEMORY_BESIDE_MATRIX * bytes_per_s * 8 * energy.NPU_PATH_PJ_PER_BIT[kind] * energy.PICO
    return idle + multiplying + reading


def peak_w(hardware: Hardware, area: float) -> float:
    """Board power at full matrix load with PIM at work: its datasheet's or its cap where there is one."""
    limit = limit_w(hardware)
    npu = hardware.npu
    if npu is None:
        return limit or static_w(hardware, area)
    macs = npu.arrays * npu.array[0] * npu.array[1]
    memory = hardware.memory
    full = matrix_board_w(area, npu.process_nm, SUSTAINED_SHARE * 2 * macs * npu.clock_hz,
                          dram.peak_bandwidth_bytes_per_s(memory), memory.kind, memory.stacks, hardware.silicon)
    full += hardware.added_stacks * stack_static_w(hardware.pim.kind) + pim_w(hardware)
    return min(full, limit) if limit is not None else full


def mac_command_j(part: PimTiming, unit: Unit) -> float:
    """Dynamic energy of one MAC command in all channels of a stack, on 16-bit data."""
    banks = part.channels * part.token_units * part.banks
    units = {"bank": banks, "bank_group": banks // part.banks, "buffer": part.channels * part.pseudo_channels}[unit]
    read_pj = energy.CELL_ACTIVATE_PJ_PER_BIT + energy.pim_read_pj_per_bit(unit)
    return units * part.column_bytes * 8 * (read_pj + energy.PIM_MAC_PJ / 16) * energy.PICO


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
