"""Remarks on a device's die size, power density and efficiency: lines to print with it, none where all is usual."""

from __future__ import annotations

import math
from collections.abc import Iterator

from simulator.design.records.hardware import Hardware
from simulator.devices.roofline import peaks
from simulator.silicon.area import area_mm2
from simulator.silicon.nodes import RETICLE_MM2, WAFER_SQUARE_MM2
from simulator.silicon.power import peak_w

# W/mm2 of die that a package sheds: 0.9 in air (shipped: 0.3 to 0.7, H100 0.86), 1.1 in liquid (Chiplet Cloud's limit)
DENSITY_LIMIT = {"air": 0.9, "liquid": 1.1}

# Best 16-bit dense TFLOP/s (per W, per mm2) of what shipped at a node or its half-node: Groq LPU; V100; TPU v4 at its highest
# power seen and Dojo D1; B200 (5 and 4 nm, and beyond: MI355X has less, TPU v7's die is not public)
SHIPPED = {16: (0.63, 0.26), 12: (0.63, 0.26), 10: (0.63, 0.26), 7: (1.43, 0.56), 6: (1.43, 0.56), 5: (2.25, 1.41),
           4: (2.25, 1.41), 3: (2.25, 1.41), 2: (2.25, 1.41)}
SUSPECT = 1.5  # times the best shipped


def power_density(hardware: Hardware) -> float:
    """W/mm2 of the compute dies at full matrix load; 0 where the die is not known."""
    area = area_mm2(hardware)
    return peak_w(hardware, area) / area if area else 0.0


def notes(hardware: Hardware) -> list[str]:
    """Lines on a device's dies, power density and efficiency."""
    return [*_dies(hardware), *_density(hardware), *_efficiency(hardware)]


def _dies(hardware: Hardware) -> Iterator[str]:
    part = hardware.npu or hardware.gpu
    if part is None:
        return
    die = area_mm2(hardware) / part.dies
    if die > WAFER_SQUARE_MM2:
        yield f"a die of {die:,.0f} mm2 is larger than a wafer's {WAFER_SQUARE_MM2:,.0f} mm2"
    elif die > RETICLE_MM2:
        yield (f"a die of {die:,.0f} mm2 is {die / RETICLE_MM2:.1f} times the field of a lithography scanner "
               f"({RETICLE_MM2:.0f} mm2): it takes {math.ceil(die / RETICLE_MM2)} dies (hardware.npu.dies) or a wafer-scale part")


def _density(hardware: Hardware) -> Iterator[str]:
    density, limit = power_density(hardware), DENSITY_LIMIT[hardware.silicon.cooling]
    if density > limit:
        yield f"{density:.2f} W/mm2 at full matrix load: above the {limit:g} W/mm2 that {hardware.silicon.cooling} cools"


def _efficiency(hardware: Hardware) -> Iterator[str]:
    npu = hardware.npu
    if npu is None:
        return
    area = area_mm2(hardware)
    tera = peaks(hardware).matrix_16bit_flops / 1e12
    for value, best, unit in zip((tera / peak_w(hardware, area), tera / area), SHIPPED[npu.process_nm], ("W", "mm2"), strict=True):
        if value > SUSPECT * best:
            yield (f"{value:.2f} TFLOP/s per {unit} (16-bit peak) is {value / best:.1f} times the best shipped at "
                   f"{npu.process_nm} nm ({best:g}): doubt the constants before the design wins by it")
