"""DRAM presets by kind, and the capacity and bandwidth of a memory system made of several stacks or chips."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.design.records.hardware import Memory
from simulator.design.records.memory import STACK_BYTES
from simulator.silicon.energy import HBM_PJ_PER_BIT

GB = 1e9
GIB = 2.0**30

# Share of the cycles outside refresh in which a long sequential stream moves data (bank conflicts, read/write turns).
# With HBM2's refresh it gives 0.887 of the pins: a streaming GEMM on NeuPIMs' DRAM simulator measures 0.88
# (casys-kaist/NeuPIMs, fc1 of GPT3-7B at 32 tokens).
ACCESS_EFFICIENCY = 0.95


@dataclass(frozen=True)
class Dram:
    """One stack or device. Times in seconds; `source` covers pins, rate and capacity, `refresh_source` tRFC/tREFI."""

    pins: int  # data pins
    pin_bits_per_s: float
    capacity_bytes: float
    channels: int
    refresh_s: float  # tRFC of the usual density
    refresh_interval_s: float  # tREFI
    pj_per_bit: float
    source: str
    refresh_source: str

    @property
    def peak_bytes_per_s(self) -> float:
        return self.pins * self.pin_bits_per_s / 8

    @property
    def efficiency(self) -> float:
        """Share of the pins' peak that long streams reach."""
        return (1 - self.refresh_s / self.refresh_interval_s) * ACCESS_EFFICIENCY


_HBM3_REFRESH = "AttAcc HBM3-PIM.cpp:309-335 (8 Gb: 350 ns; authors scaled HBM2: HBM3 timings are not public)"
_GDDR_REFRESH = "DRAM-class assumption: 120 ns per 1.9 us refresh command (JESD250-class parts; not checked)"

PRESETS: dict[str, Dram] = {
    "HBM2": Dram(1024, 2.4e9, STACK_BYTES["HBM2"], 8, 260e-9, 3.9e-6, HBM_PJ_PER_BIT,
                 "JEDEC JESD235B announcement: 1024 pins, 2.4 Gb/s, 307 GB/s",
                 "DRAMsim3 HBM2_8Gb_x128.ini: tRFC 260 ns, tREFI 3.9 us"),
    "HBM2E": Dram(1024, 3.2e9, STACK_BYTES["HBM2E"], 8, 350e-9, 3.9e-6, HBM_PJ_PER_BIT,
                  "vendor tables: 3.2 Gb/s, 410 GB/s, 16 GB (MI250: 8 stacks, 3.28 TB/s)",
                  "tRFC 350 ns as AttAcc HBM3-PIM.cpp:309-312 at 8 Gb; tREFI as HBM2"),
    "HBM3": Dram(1024, 5.2e9, STACK_BYTES["HBM3"], 16, 350e-9, 3.9e-6, HBM_PJ_PER_BIT,
                 "as shipped: 5.2 Gb/s, 665 GB/s a stack (H100: 5 stacks, 80 GB, 3.35 TB/s); JESD238 allows 6.4",
                 _HBM3_REFRESH),
    "HBM3E": Dram(1024, 8.0e9, STACK_BYTES["HBM3E"], 16, 350e-9, 3.9e-6, HBM_PJ_PER_BIT,
                  "as shipped: 8 Gb/s, 1.02 TB/s, 24 GB a stack (B200: 8 stacks, 8 TB/s); parts to 9.6 exist",
                  _HBM3_REFRESH),
    "GDDR6": Dram(32, 16e9, STACK_BYTES["GDDR6"], 2, 120e-9, 1.9e-6, 7.5,
                  "JESD250: 32 pins in 2 channels, 16 Gb/s, 64 GB/s; 7.5 pJ/bit vendor claim", _GDDR_REFRESH),
    "GDDR6X": Dram(32, 21e9, STACK_BYTES["GDDR6X"], 2, 120e-9, 1.9e-6, 7.25,
                   "Micron: PAM4, 21 Gb/s (RTX 4090: 12 devices, 1,008 GB/s); 7.25 pJ/bit vendor claim", _GDDR_REFRESH),
    "GDDR7": Dram(32, 28e9, STACK_BYTES["GDDR7"], 4, 120e-9, 1.9e-6, 4.5,
                  "JESD239: PAM3, 28 Gb/s, 24 Gb devices (RTX PRO 6000: 1,792 GB/s); 4.5 pJ/bit vendor claim",
                  _GDDR_REFRESH),
    "LPDDR5": Dram(64, 6.4e9, STACK_BYTES["LPDDR5"], 4, 280e-9, 3.9e-6, 4.0,
                   "JESD209-5: 6.4 Gb/s, x64 package of four x16 channels, 51.2 GB/s; 4 pJ/bit vendor claim",
                   "JESD209-5-class: tRFCab 280 ns at 8 Gb, tREFI 3.9 us (not checked)"),
    # on the die: sizes are the design's; 0.5 pJ/bit as 0.117 x (512 MiB / 8 KiB)^0.13 (`simulator.silicon.energy`)
    "SRAM": Dram(0, 0.0, 0.0, 0, 0.0, 1.0, 0.5, "no usual size", "not refreshed"),
}


def preset(kind: str) -> Dram:
    """The preset of a `MemoryKind`."""
    return PRESETS[kind]


def stack_capacity_bytes(kind: str) -> float:
    """Bytes of one stack or device of a kind; a PIM stack is taken to hold as much (as AttAcc does)."""
    return preset(kind).capacity_bytes


def capacity_bytes(memory: Memory) -> float:
    """Bytes of a device's memory: the datasheet's where given, else stacks x the preset's."""
    return memory.capacity_bytes or memory.stacks * preset(memory.kind).capacity_bytes


def peak_bandwidth_bytes_per_s(memory: Memory) -> float:
    """Bandwidth at the pins: the datasheet's where given, else stacks x pins x rate."""
    return memory.bandwidth_bytes_per_s or memory.stacks * preset(memory.kind).peak_bytes_per_s


def bandwidth_bytes_per_s(memory: Memory) -> float:
    """Bandwidth that long streams reach: pins x rate x (1 - tRFC/tREFI) x access efficiency."""
    return peak_bandwidth_bytes_per_s(memory) * preset(memory.kind).efficiency
