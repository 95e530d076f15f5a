"""The cost of a die from its area: dies per wafer, yield and USD (formulae of PrincetonUniversity/ttm-cas)."""

from __future__ import annotations

import math

from simulator.design.records.money import Node

WAFER_RADIUS_MM = 150.0
DEFECT_CLUSTERING = 3.0  # alpha of the negative binomial yield model (ttm-cas)


def dies_per_wafer(area_mm2: float) -> float:
    """Gross dies on a 300 mm wafer, the edge taken off."""
    diameter = 2 * WAFER_RADIUS_MM
    return math.pi * WAFER_RADIUS_MM**2 / area_mm2 - math.pi * diameter / math.sqrt(2 * area_mm2)


def die_yield(area_mm2: float, defects_per_mm2: float) -> float:
    """Share of dies without a defect (nothing is harvested)."""
    return (1 + area_mm2 * defects_per_mm2 / DEFECT_CLUSTERING) ** -DEFECT_CLUSTERING


def die_usd(area_mm2: float, node: Node) -> float:
    """Price of one good die; infinite where the die is larger than a wafer takes."""
    dies = dies_per_wafer(area_mm2)
    return node.wafer_usd / (dies * die_yield(area_mm2, node.defects_per_mm2)) if dies > 0 else math.inf
