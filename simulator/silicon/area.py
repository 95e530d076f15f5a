"""Die area in closed form: bit cells over array efficiency, MACs and lanes with their overhead, PHYs, links, uncore.

Form and constants: see `scripts/validate_silicon.py`, which holds the dies that they were fitted to and judged on.
SRAM here is scratchpad; the cache of a GPU, with tags, ports and slices, takes five times as much a byte and is counted in
what a GPU core takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.design.records.hardware import Hardware
from simulator.design.records.silicon import Silicon
from simulator.devices import dram
from simulator.silicon.nodes import SRAM_CELL_UM2, logic_scale

MIB = 2.0**20

# mm2 at 7 nm, scaled by logic density
LANE_MM2 = 3760e-6  # one fp32 and int32 vector lane with its share of control (LLMCompass' synthesised counts)
CORE_MM2 = 1.0  # one GPU core (SM, CU) without matrix units and memories: fitted
CORE_SRAM_BYTES = 0.5 * MIB  # register file and first-level memory of one GPU core (H100: 256 + 256 KiB)
# mm2 whatever the node: analogue
STACK_MM2 = 15.0  # PHY 9.7 and controller 5.3 of one HBM stack (GA100, die photograph)
DDR_WORD_MM2 = 2.4  # PHY 1.45 (LLMCompass, die photograph) and controller, per 32 bits of GDDR or LPDDR
HOST_LANE_MM2 = 0.7  # PCIe 5 lane with controller (LLMCompass: PHY 0.64)
HOST_LANES = 16
LINK_MM2_PER_BYTES_PER_S = {"to 7 nm": 0.070e-9, "below": 0.064e-9}  # per direction: NVLink3 (GA100), NVLink4
# A die grows its uncore with what it serves: half of it at 70 mm2 of units (fitted to AD104 and AD107)
UNCORE_KNEE_MM2 = 100.0


@dataclass(frozen=True)
class Parts:
    """What is on the dies of one package, before any area. `macs`: 16-bit multiply-accumulates a cycle."""

    process_nm: int
    macs: float
    lanes: float = 0.0
    cores: float = 0.0  # of a GPU
    sram_bytes: float = 0.0
    stacks: float = 0.0
    ddr_words: float = 0.0  # 32 bits each
    link_bytes_per_s: float = 0.0  # per direction
    host_lanes: float = HOST_LANES
    dies: int = 1


@dataclass(frozen=True)
class DieArea:
    """mm2 by part over all dies of a package, each with its share of wiring and clock; `total` adds them up."""

    compute: float
    vector: float
    cores: float
    sram: float
    memory_io: float  # PHYs and controllers of device memory
    link_io: float  # links to other devices, dies and the host
    uncore: float

    @property
    def total(self) -> float:
        return (self.compute + self.vector + self.cores + self.sram + self.memory_io + self.link_io + self.uncore)


def sram_mm2(size_bytes: float, process_nm: int, silicon: Silicon) -> float:
    """A scratchpad of `size_bytes`."""
    return size_bytes * 8 * SRAM_CELL_UM2[process_nm] * 1e-6 / silicon.sram_efficiency


def die_area(parts: Parts, silicon: Silicon) -> DieArea:
    """The silicon of `parts`, mm2."""
    nm, scale, wired = parts.process_nm, logic_scale(parts.process_nm), 1 + silicon.overhead
    sram = sram_mm2(parts.sram_bytes, nm, silicon)
    compute = parts.macs * silicon.mac_um2 * 1e-6 * scale
    vector, cores = parts.lanes * LANE_MM2 * scale, parts.cores * CORE_MM2 * scale
    memory_io = parts.stacks * STACK_MM2 + parts.ddr_words * DDR_WORD_MM2
    link_io = (parts.link_bytes_per_s * LINK_MM2_PER_BYTES_PER_S["to 7 nm" if nm >= 7 else "below"]
               + parts.host_lanes * HOST_LANE_MM2)
    units = sram + compute + vector + cores + memory_io + link_io
    uncore = parts.dies * silicon.uncore_mm2 * -math.expm1(-units / parts.dies / UNCORE_KNEE_MM2)
    return DieArea(compute * wired, vector * wired, cores * wired, sram, memory_io * wired, link_io * wired, uncore * wired)


def npu_parts(hardware: Hardware) -> Parts:
    """What an NPU's dies hold. Memory of kind SRAM is on them; local PIM stacks need PHYs, pooled ones sit elsewhere."""
    npu = hardware.npu
    assert npu is not None
    stacks, words = _channels(hardware.memory.kind, hardware.memory.stacks)
    if hardware.pim.placement == "local":
        more_stacks, more_words = _channels(hardware.pim.kind, hardware.pim.stacks_per_npu)
        stacks, words = stacks + more_stacks, words + more_words
    return Parts(npu.process_nm, macs=npu.arrays * npu.array[0] * npu.array[1], lanes=npu.vector_lanes,
                 sram_bytes=npu.sram_bytes + _on_die_bytes(hardware), stacks=stacks, ddr_words=words,
                 link_bytes_per_s=hardware.link.bandwidth_bytes_per_s, dies=npu.dies)


def gpu_parts(hardware: Hardware) -> Parts | None:
    """What a GPU's dies hold, as far as its datasheet tells; None where it does not tell the process."""
    gpu = hardware.gpu
    if gpu is None or gpu.process_nm is None:
        return None
    stacks, words = _channels(hardware.memory.kind, hardware.memory.stacks)
    return Parts(gpu.process_nm, macs=gpu.peak_bf16 / 2 / gpu.clock_hz, cores=gpu.sms,
                 sram_bytes=gpu.l2_bytes + gpu.sms * CORE_SRAM_BYTES, stacks=stacks, ddr_words=words,
                 link_bytes_per_s=hardware.link.bandwidth_bytes_per_s, dies=gpu.dies)


def npu_area(hardware: Hardware) -> DieArea:
    """The dies of an NPU."""
    return die_area(npu_parts(hardware), hardware.silicon)


def area_mm2(hardware: Hardware) -> float:
    """Silicon of a device's logic dies: a datasheet's where given, else predicted; 0 where neither is known."""
    if hardware.npu is not None:
        return npu_area(hardware).total
    if hardware.device is not None:
        return hardware.device.die_mm2 or 0.0
    gpu = hardware.gpu
    assert gpu is not None
    base = gpu.base_dies.die_mm2 if gpu.base_dies is not None else 0.0
    return compute_mm2(hardware) + base


def compute_mm2(hardware: Hardware) -> float:
    """Of that, a GPU's compute dies."""
    gpu, parts = hardware.gpu, gpu_parts(hardware)
    assert gpu is not None
    if gpu.die_mm2 is not None:
        return gpu.die_mm2
    return die_area(parts, hardware.silicon).total if parts is not None else 0.0


def _channels(kind: str, stacks: float) -> tuple[float, float]:
    """(HBM stacks, 32-bit words of other DRAM) of a memory."""
    return (stacks, 0.0) if kind.startswith("HBM") else (0.0, stacks * dram.preset(kind).pins / 32)


def _on_die_bytes(hardware: Hardware) -> float:
    return dram.capacity_bytes(hardware.memory) if hardware.memory.kind == "SRAM" else 0.0
