"""The cost of a die from its area: dies per wafer, yield and USD (formulae of PrincetonUniversity/ttm-cas)."""

from __future__ import annotations

import math

from simulator.design.records.money import Node
from simulator.silicon.nodes import WAFER_SQUARE_MM2

WAFER_RADIUS_MM = 150.0
DEFECT_CLUSTERING = 3.0  # alpha of the negative binomial yield model (ttm-cas)


def dies_per_wafer(area_mm2: float) -> float:
    """Gross dies on a 300 mm wafer, the edge taken off; one where a die is as large as the wafer's square allows."""
    diameter = 2 * WAFER_RADIUS_MM
    gross = math.pi * WAFER_RADIUS_MM**2 / area_mm2 - math.pi * diameter / math.sqrt(2 * area_mm2)
    return max(gross, 1.0) if area_mm2 <= WAFER_SQUARE_MM2 else 0.0


def die_yield(area_mm2: float, defects_per_mm2: float, repairable: float = 0.0) -> float:
    """Share of dies that work: defects in the `repairable` share of the area only cost a spare."""
    return (1 + area_mm2 * (1 - repairable) * defects_per_mm2 / DEFECT_CLUSTERING) ** -DEFECT_CLUSTERING


def die_usd(area_mm2: float, node: Node, repairable: float = 0.0) -> float:
    """Price of one good die; infinite where the die is larger than a wafer takes."""
    dies = dies_per_wafer(area_mm2)
    return node.wafer_usd / (dies * die_yield(area_mm2, node.defects_per_mm2, repairable)) if dies > 0 else math.inf
