"""Energy constants in picojoules, each with its source; an operator's energy is a sum of counts times these.

Two prices of a DRAM bit: of the device alone (what PIM saves) and of the whole path from cell to register (what serving
pays). Logic is at 7 nm and scales with `nodes.ENERGY`.
"""

from __future__ import annotations

from typing import Literal

from simulator.design.records.silicon import Silicon
from simulator.silicon.nodes import ENERGY

PICO = 1e-12

LINK_PJ_PER_BIT = 1.3  # NVLink-class (GRS and chip-to-chip links: 1.17 to 1.3)

# HBM2 access by part of the path: O'Connor et al., "Fine-Grained DRAM", MICRO 2017, as in AttAcc (config.py:35-52).
# Activation: 909 pJ for a row of 1 KiB, spread over all its bits, as streams and PIM read whole rows.
CELL_ACTIVATE_PJ_PER_BIT = 0.11
CELL_READ_PJ_PER_BIT = 0.44
BANK_GROUP_MUX_PJ_PER_BIT = 1.01
GLOBAL_IO_PJ_PER_BIT = 1.23
TSV_PJ_PER_BIT = 0.5
INTERPOSER_PJ_PER_BIT = 0.3
HBM_PJ_PER_BIT = (CELL_ACTIVATE_PJ_PER_BIT + CELL_READ_PJ_PER_BIT + BANK_GROUP_MUX_PJ_PER_BIT + GLOBAL_IO_PJ_PER_BIT
                  + TSV_PJ_PER_BIT + INTERPOSER_PJ_PER_BIT)  # 3.59

# One fp16 MAC in a DRAM bank (scale-snu/attacc_simulator src/config.py:22; no measured share of PIM silicon is public)
PIM_MAC_PJ = 0.32

# DRAM bit from cell to scratchpad of an NPU, at the board: device, PHY, controller, network on chip. Settled on the board
# power of shipped accelerators (scripts/validate_silicon.py); GDDR: the device's 7.5 and HBM3's 2.4 besides it.
NPU_PATH_PJ_PER_BIT = {"HBM2": 7.0, "HBM2E": 7.0, "HBM3": 6.0, "HBM3E": 6.0, "GDDR6": 10.0, "GDDR6X": 10.0, "GDDR7": 7.0,
                       "LPDDR5": 9.0, "SRAM": 0.5}

# Energy of an operation by width of its operands, over 16 bits. 8: the best fp8 GEMM of an H100 is 1.77 times its best
# bf16 one at the same power (ml-engineering); 4: our assumption.
WIDTH = {16: 1.0, 8: 0.56, 4: 0.3}

# Of a MAC's energy (`Silicon.mac_pj`), what is not the scratchpad's: a 128-wide array reads 2 x 16 bits / 128 of 0.41 pJ
# (128 MiB) for it, 6 % of 1.7 pJ. Scratchpad reads are counted apart, so that array and scratchpad matter.
ARRAY_SHARE = 0.94

# One fp32 operation of a vector lane with datapath and memory, over a 16-bit FLOP of a matrix unit: 3.3 over 1.3 pJ
# (Graphcore, Hot Chips 33).
VECTOR_OVER_MATRIX = 2.5


def width_factor(bits: int) -> float:
    """Energy of an operation on operands of `bits` over 16-bit ones; the next wider type where there is none."""
    return WIDTH[4 if bits <= 4 else 8 if bits <= 8 else 16]


def mac_pj(silicon: Silicon, process_nm: int) -> float:
    """One 16-bit MAC of an NPU, operands and clock included."""
    return silicon.mac_pj * ENERGY[process_nm] * voltage_factor(silicon)


def vector_op_pj(silicon: Silicon, process_nm: int) -> float:
    """One operation of a vector lane."""
    return mac_pj(silicon, process_nm) / 2 * VECTOR_OVER_MATRIX


def sram_pj_per_bit(size_bytes: float, silicon: Silicon, process_nm: int) -> float:
    """One bit of a scratchpad: 0.117 pJ of 8 KiB to 0.22 of 1 MiB at 7 nm ("Ten Lessons", ISCA 2021, 1 MiB recalled)."""
    return 0.117 * (size_bytes / 8192) ** 0.13 * ENERGY[process_nm] * voltage_factor(silicon)


def voltage_factor(silicon: Silicon) -> float:
    """Power at reduced voltage over the usual one's: fitted to RNGD alone, which holds MTIA v2 and L4 to 20 %."""
    return 0.67 if silicon.low_voltage else 1.0


def pim_read_pj_per_bit(unit: Literal["bank", "bank_group", "buffer"]) -> float:
    """Energy of bringing one bit of an open row to the MAC unit: the path ends where the unit sits."""
    path = CELL_READ_PJ_PER_BIT
    if unit in ("bank_group", "buffer"):
        path += BANK_GROUP_MUX_PJ_PER_BIT
    if unit == "buffer":
        path += GLOBAL_IO_PJ_PER_BIT + TSV_PJ_PER_BIT
    return path
