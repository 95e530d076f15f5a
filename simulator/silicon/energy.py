"""Energy constants in picojoules, each with its source; an operator's energy is a sum of counts times these.

They are dynamic energy of one technology generation (7 nm class logic): relative sizes are what they are good for.
"""

from __future__ import annotations

from typing import Literal

# scale-snu/attacc_simulator src/config.py:18-25 (its own sources as commented there).
MAC_FP16_PJ = 0.32  # one multiply-accumulate
SRAM_PJ_PER_BIT = 0.16  # first-level scratchpad
L2_PJ_PER_BIT = 0.30
LINK_PJ_PER_BIT = 1.3  # NVLink-class

# HBM2 access by part of the path: O'Connor et al., "Fine-Grained DRAM", MICRO 2017, as in AttAcc (config.py:35-52).
CELL_ACTIVATE_PJ_PER_BIT = 0.11
CELL_READ_PJ_PER_BIT = 0.44
BANK_GROUP_MUX_PJ_PER_BIT = 1.01
GLOBAL_IO_PJ_PER_BIT = 1.23
TSV_PJ_PER_BIT = 0.5
INTERPOSER_PJ_PER_BIT = 0.3
HBM_PJ_PER_BIT = (CELL_ACTIVATE_PJ_PER_BIT + CELL_READ_PJ_PER_BIT + BANK_GROUP_MUX_PJ_PER_BIT + GLOBAL_IO_PJ_PER_BIT
                  + TSV_PJ_PER_BIT + INTERPOSER_PJ_PER_BIT)  # 3.59

# A vector lane's operation is a 32-bit one: one FP16 MAC scaled by width (our assumption).
VECTOR_OP_PJ = 2 * MAC_FP16_PJ

PICO = 1e-12


def mac_pj(bits: int) -> float:
    """Energy of one multiply-accumulate of `bits`-wide operands; linear in width from FP16 (our assumption: multiplier
    energy falls faster, accumulator energy slower)."""
    return MAC_FP16_PJ * bits / 16


def pim_read_pj_per_bit(unit: Literal["bank", "bank_group", "buffer"]) -> float:
    """Energy of bringing one bit of an open row to the MAC unit: the path ends where the unit sits."""
    path = CELL_READ_PJ_PER_BIT
    if unit in ("bank_group", "buffer"):
        path += BANK_GROUP_MUX_PJ_PER_BIT
    if unit == "buffer":
        path += GLOBAL_IO_PJ_PER_BIT + TSV_PJ_PER_BIT
    return path
