"""Logic processes: what a node changes about area and energy. Keys are feature sizes in nm, as `NodeNm`."""

from __future__ import annotations

# Million transistors per mm2, for ratios only: TSMC's density class (CSET "AI Chips", 2020), N5 from a shipped die
# (Angstronomics: 134, not the 171 of the announcement).
DENSITY_MTR = {16: 28.9, 12: 33.8, 10: 52.5, 7: 91.2, 6: 107.0, 5: 137.6, 4: 143.7, 3: 215.0, 2: 237.0}

# um2 of the high-density bit cell (TSMC at IEDM; WikiChip; 16 to 6 nm recalled). N3E keeps N5's; N2 0.0175 (TSMC at IEDM 2024).
SRAM_CELL_UM2 = {16: 0.074, 12: 0.074, 10: 0.042, 7: 0.027, 6: 0.027, 5: 0.021, 4: 0.021, 3: 0.021, 2: 0.0175}

# Energy of switched logic over 7 nm's. 16 to 3 nm: settled on the board power of shipped accelerators
# (scripts/validate_silicon.py); 10 and 2 nm: between and beyond (our extrapolation).
ENERGY = {16: 2.6, 12: 2.2, 10: 1.4, 7: 1.0, 6: 0.9, 5: 0.70, 4: 0.63, 3: 0.47, 2: 0.40}

RETICLE_MM2 = 858.0  # field of a lithography scanner, 26 mm x 33 mm
WAFER_SQUARE_MM2 = 46_225.0  # largest square of a 300 mm wafer with its edge off, 215 mm a side (Cerebras WSE-2)


def logic_scale(process_nm: int) -> float:
    """Area of logic over 7 nm's."""
    return DENSITY_MTR[7] / DENSITY_MTR[process_nm]
