"""Die area in closed form: LLMCompass' synthesised transistor counts and die-shot PHY areas (ISCA 2024;
PrincetonUniversity/LLMCompass cost_model/cost_model.py), composed here for an NPU.

Its SRAM efficiencies belong to its SRAM cell (0.170 um2 a bit at 7 nm, six times the foundry's): not to be mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.design.records.hardware import Hardware
from simulator.devices import dram

# Logic density in million transistors per mm2 (CSET "AI Chips" 2020, as PrincetonUniversity/ttm-cas).
DENSITY_MTR = {16: 28.9, 10: 52.5, 7: 96.3, 6: 114.2, 5: 138.2}
# SRAM um2 per bit before array efficiency. 7, 6, 5: LLMCompass. 16, 10: its 7 nm value in the ratio of TSMC's
# published high-density cells (0.074, 0.042 and 0.027 um2).
SRAM_UM2 = {16: 0.466, 10: 0.264, 7: 0.170, 6: 0.140, 5: 0.125}
# Array efficiency by unit size in KiB (CACTI, LLMCompass cost_model.py:21-24); larger memories are 512 KiB units.
SRAM_EFFICIENCY = {4: 0.076, 8: 0.142, 16: 0.247, 32: 0.393, 64: 0.559, 128: 0.704, 256: 0.526, 512: 0.602}

FPU64_TR = 685_300.0  # Ariane FPU, synthesised
INT32_TR = 177_690.0
CONTROL_TR = 996_200.0  # front end of one SIMT lane (OpenPiton core share)
CROSSBAR_TR = 44.3e6  # per core
RF_PORTS = 4  # register-file ports that reproduce LLMCompass' areas
CONTROL_LANES = 32  # lanes of an NPU's vector unit that share one front end (SIMD, not SIMT; our assumption)

# PHY mm2 (analogue: the same at every node) and controller transistors, from die photographs (LLMCompass).
HBM_PHY_MM2, HBM_CONTROLLER_TR = 10.45, 552.7e6  # per stack
DDR_PHY_MM2, DDR_CONTROLLER_TR = 1.45, 90.4e6  # per 32 bits; used for GDDR and LPDDR too
NVLINK3_PHY_MM2, NVLINK3_CONTROLLER_TR = 1.888, 74.6e6  # per link of 25 GB/s and direction
NVLINK4_PHY_MM2, NVLINK4_CONTROLLER_TR = 0.965, 86.6e6
PCIE5_PHY_MM2, PCIE5_CONTROLLER_TR = 0.64, 5.37e6  # per lane
LINK_BYTES_PER_S = 25e9
HOST_LANES = 16


@dataclass(frozen=True)
class DieArea:
    """mm2 by part; `total` adds them up."""

    compute: float  # arrays or cores, without their memories where `sram` holds them
    vector: float
    sram: float
    crossbar: float
    memory_io: float  # PHYs and controllers of device memory
    link_io: float

    @property
    def total(self) -> float:
        return self.compute + self.vector + self.sram + self.crossbar + self.memory_io + self.link_io


def fpu_transistors(mantissa_bits: int) -> float:
    """A fused multiply-add unit; area goes with the square of the mantissa (fp64 52, fp32 23, fp16 10)."""
    return FPU64_TR * (mantissa_bits / 52) ** 2


def logic_mm2(transistors: float, process_nm: int) -> float:
    return transistors / (DENSITY_MTR[process_nm] * 1e6)


def sram_mm2(size_bytes: float, process_nm: int) -> float:
    """A memory built of the smallest unit that holds it, at most 512 KiB."""
    unit = next((kib for kib in SRAM_EFFICIENCY if size_bytes <= kib * 1024), 512)
    return size_bytes * 8 * SRAM_UM2[process_nm] * 1e-6 / SRAM_EFFICIENCY[unit]


def register_file_mm2(entries: int, width_bits: int, process_nm: int) -> float:
    """EMPIRE's fit of 90 nm register files (LLMCompass cost_model.py:137-146), scaled by density."""
    d, w, p = float(entries), float(width_bits), float(RF_PORTS)
    um2 = (3.29e4 - 1090 * d - 883 * w - 5550 * p + 53.5 * d * w + 0.015 * d * d + 0.0108 * w * w + 0.586 * p * p
           + 142 * d * p + 368 * w * p)
    return um2 * 1e-6 * 1.6 / DENSITY_MTR[process_nm]


def simt_core_mm2(process_nm: int, *, sublanes: int, lanes: int, int32: int, fp16: int, fp32: int, fp64: int,
                  array: int, registers: int, register_files: int, sram_bytes: float) -> float:
    """A GPU core (SM, CU) of `sublanes` equal parts with an array x array matrix unit each."""
    transistors = (lanes * CONTROL_TR + int32 * INT32_TR + fp16 * fpu_transistors(10) + fp32 * fpu_transistors(23)
                   + fp64 * fpu_transistors(52) + array * array * fpu_transistors(10))
    files = register_files * register_file_mm2(registers, 32, process_nm)
    return sublanes * (logic_mm2(transistors, process_nm) + files) + sram_mm2(sram_bytes, process_nm)


def npu_area(hardware: Hardware) -> DieArea:
    """The die of an NPU. Its MACs are FP16 multipliers, its vector lanes FP32 and INT32 units."""
    npu = hardware.npu
    assert npu is not None
    nm = npu.process_nm
    lane = fpu_transistors(23) + INT32_TR + CONTROL_TR / CONTROL_LANES
    links = hardware.link.bandwidth_bytes_per_s / LINK_BYTES_PER_S
    return DieArea(
        compute=logic_mm2(npu.arrays * npu.array[0] * npu.array[1] * fpu_transistors(10), nm),
        vector=logic_mm2(npu.vector_lanes * lane, nm),
        sram=sram_mm2(npu.sram_bytes, nm),
        crossbar=logic_mm2(npu.arrays * CROSSBAR_TR, nm),
        memory_io=memory_io_mm2(hardware.memory.kind, hardware.memory.stacks, nm) + _pim_io_mm2(hardware, nm),
        link_io=(links * (NVLINK4_PHY_MM2 + logic_mm2(NVLINK4_CONTROLLER_TR, nm))
                 + HOST_LANES * (PCIE5_PHY_MM2 + logic_mm2(PCIE5_CONTROLLER_TR, nm))))


def memory_io_mm2(kind: str, stacks: float, process_nm: int) -> float:
    """PHYs and controllers of `stacks` stacks or devices."""
    if kind.startswith("HBM"):
        return stacks * (HBM_PHY_MM2 + logic_mm2(HBM_CONTROLLER_TR, process_nm))
    words = stacks * dram.preset(kind).pins / 32
    return words * (DDR_PHY_MM2 + logic_mm2(DDR_CONTROLLER_TR, process_nm))


def _pim_io_mm2(hardware: Hardware, process_nm: int) -> float:
    """Local PIM stacks need PHYs on the NPU's die; pooled ones sit on dies of their own."""
    if hardware.pim.placement != "local":
        return 0.0
    return memory_io_mm2(hardware.pim.kind, hardware.pim.stacks_per_npu, process_nm)
