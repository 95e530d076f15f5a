"""GEMM times between the weight shapes that a table was measured at, by interpolation over their lattice.

Operator databases time GEMMs for some dozens of n and k, whatever the model. Efficiency over the roofline is interpolated
linearly in log n and log k between the four measured shapes around the wanted one, held beyond the lattice (design
decision 5); the rows are those that all four were measured at.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from simulator.devices import roofline
from simulator.devices.measured.table import OperatorTable, Points
from simulator.devices.roofline import Peaks
from simulator.model.operators import Gemm

META, LATTICE = "gemm_shapes", "lattice"  # what a table's metadata says where its GEMMs are no model's own


def gemm_points(table: OperatorTable, gemm: Gemm, peaks: Peaks) -> Points | None:
    """Points of `gemm` from its neighbours in the lattice; None where the table is no lattice or lacks the dtype."""
    if table.meta.get(META) != LATTICE:
        return None
    shapes = [(i[0], i[1]) for i in table.identities("gemm") if i[2:] == (gemm.weight_bits, gemm.activation_bits)]
    if not shapes:
        return None
    known = set(shapes)
    corners = [(n, k, share_n * share_k)
               for n, share_n in _around(gemm.n, [int(n) for n, _ in shapes])
               for k, share_k in _around(gemm.k, [int(k) for _, k in shapes]) if (n, k) in known]
    total = sum(share for *_, share in corners)
    if total <= 0:
        return None
    found = [(Gemm(n, k, gemm.weight_bits, gemm.activation_bits), share / total) for n, k, share in corners if share > 0]
    measured = [(g, table.points("gemm", (g.n, g.k, g.weight_bits, g.activation_bits)), share) for g, share in found]
    rows = functools.reduce(np.intersect1d, [p.axes[0] for _, p, _ in measured if p is not None])
    if not len(rows):
        return None
    efficiency = np.zeros(len(rows))
    for corner, points, share in measured:
        assert points is not None
        at = np.searchsorted(points.axes[0], rows)
        efficiency += share * roofline.nominal(corner, peaks, rows)[0] / points.seconds[at]
    return Points(rows[None, :], roofline.nominal(gemm, peaks, rows)[0] / efficiency)


def _around(wanted: int, sizes: Sequence[int]) -> list[tuple[int, float]]:
    """The measured sizes on both sides of `wanted` and their shares; the nearest alone outside."""
    known = sorted(set(sizes))
    if wanted in known or wanted < known[0] or wanted > known[-1]:
        return [(min(max(wanted, known[0]), known[-1]), 1.0)]
    right = next(size for size in known if size > wanted)
    left = max(size for size in known if size < wanted)
    share = math.log(wanted / left) / math.log(right / left)
    return [(left, 1.0 - share), (right, share)]
