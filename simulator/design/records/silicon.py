"""What public data do not settle about a die: constants with a default and the range that facts allow, all sweepable."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.design.records.base import Record

NodeNm = Literal[16, 12, 10, 7, 6, 5, 4, 3, 2]


class Silicon(Record):
    """Constants of area, energy, yield and cooling of one die. Ranges: the values that public sources give.

    Areas and energies are at 7 nm and scale with the node (`simulator.silicon.nodes`). `mac_um2` is not identified by
    the dies that are public: 450 to 1,100 fit them equally, as `overhead` takes the rest.
    """

    # One 16-bit MAC with fp32 accumulator, registers and clock. Range: Turing tensor cores (450, die photographs),
    # TPU v4i MXUs (670, recalled from "Ten Lessons", ISCA 2021), Chiplet Cloud's reading of a 7 nm die (1,526)
    mac_um2: float = Field(default=670.0, ge=450, le=1530)
    # Share of a scratchpad that is bit cells. Range: 128 MiB behind many ports (TPU v4i, 0.26, recalled), bare macro (N3E, 0.70)
    sram_efficiency: float = Field(default=0.47, ge=0.26, le=0.70)
    # Wiring, clock, control and white space, over what is not SRAM. Fitted to dies (scripts/validate_silicon.py)
    overhead: float = Field(default=0.55, ge=0.3, le=0.9)
    # Host, management, network-on-chip root, fuses and seal of a large die. Fitted likewise
    uncore_mm2: float = Field(default=150.0, ge=50, le=250)
    # One 16-bit MAC, operands and clock included, at 7 nm. Range: bare arithmetic (0.59, recalled from "Ten Lessons"),
    # Graphcore's 1.3 pJ a FLOP with memory (Hot Chips 33)
    mac_pj: float = Field(default=1.7, ge=0.59, le=2.6)
    # Share of the die that spares cover: H100 ships 132 of 144 SMs (our assumption). A wafer is all repairable: 0.99
    repairable: float = Field(default=0.6, ge=0, le=1)
    # Run at reduced voltage, at a third less power: RNGD, MTIA, L4 class cards
    low_voltage: bool = False
    # Limit of power density: 0.9 W/mm2 in air, 1.1 in liquid
    cooling: Literal["air", "liquid"] = "air"
