"""The measured device: efficiency over the roofline from a table, everything else from a fallback device.

    time = (t0 + roofline(shape)) / efficiency(shape),   efficiency = (t0 + roofline) / measured at the table's points

t0 is the smallest time in the operator's own table (launch and latency that no shape avoids), so that efficiency is a
smooth number near one where the roofline alone would vanish; zero for a GEMM, whose weights are read at any shape.
Between points efficiency is interpolated, beyond them its boundary value is held; nothing is ever priced below the floor
of `roofline.floor`.

GEMM time is a staircase in the rows (tiles): where the table is measured every TILE_ROWS rows or closer, a count between
two of its points costs what the next point costs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.devices import roofline
from simulator.devices.device import Bound, Device, Fidelity, Priced
from simulator.devices.experts import WithExperts, awake
from simulator.devices.measured.lattice import gemm_points
from simulator.devices.measured.surface import evaluate
from simulator.devices.measured.table import OperatorTable, Points, identity_of
from simulator.devices.roofline import Peaks
from simulator.model.operators import Collective, Gemm, GroupedGemm, Operator

Float64 = NDArray[np.float64]

MOSTLY = 0.5  # share of the asked shapes inside the measured range from which a price is called interpolated
TILE_ROWS = 16  # rows of a tensor-core instruction (PTX mma.m16n8k16): the finest step of a GEMM's time


@dataclass(frozen=True)
class MeasuredDevice:
    """Prices what `table` knows; asks `fallback` for the rest and for energy.

    names: the name of each operator (vectors are looked up by name). covered: names whose time is inside a neighbour's
    measurement (a profiler that times the attention layer whole includes the KV-cache write): priced at zero.
    """

    table: OperatorTable
    peaks: Peaks
    fallback: Device
    names: Mapping[Operator, str] = field(default_factory=dict)
    covered: frozenset[str] = frozenset()
    prices_experts = True

    def fingerprint(self) -> str:
        known = sorted((repr(op), name) for op, name in self.names.items())
        return f"measured.1 {self.table.content_hash} {self.peaks} {sorted(self.covered)} {known} | {self.fallback.fingerprint()}"

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Axes are vectors, or one column and one row that span a grid."""
        name = self.names.get(operator, "")
        if name in self.covered:
            zero = np.zeros(np.broadcast_shapes(*(np.shape(a) for a in axes)))
            return Priced(zero, zero, np.full(zero.shape, int(Bound.MEMORY), np.int8), Fidelity.MEASURED)
        base = WithExperts(self.fallback).price(operator, *axes)
        points = None if isinstance(operator, Collective) else self._points(operator, name)
        if isinstance(operator, GroupedGemm):
            return base if points is None else self._experts(operator, points, np.asarray(axes[0], dtype=np.float64), base)
        if points is None:
            return base
        shapes = [np.asarray(axis, dtype=np.float64) for axis in axes]
        seconds, bound, inside = self._seconds(operator, points, shapes)
        fidelity = Fidelity.INTERPOLATED if inside else Fidelity.CALIBRATED
        return Priced(seconds, base.joules, bound, fidelity)

    def _experts(self, operator: GroupedGemm, points: Points, rows: Float64, base: Priced) -> Priced:
        """A whole block of experts (`operator` closes it) with the experts awake that are expected to be: efficiency
        interpolated over tokens and experts awake."""
        start = float(points.seconds.min())
        ideal = roofline.expert_block_s(operator, self.peaks, *points.axes)
        count = awake(operator, rows)
        knots = np.unique(points.axes[1])
        efficiency = evaluate(points.axes, (start + ideal) / points.seconds, (rows, knots))
        at = np.array([np.interp(c, knots, row) for c, row in zip(count, efficiency, strict=True)])
        wanted = roofline.expert_block_s(operator, self.peaks, rows, count)
        inside = bool((rows <= points.axes[0].max()).mean() > MOSTLY)
        fidelity = Fidelity.INTERPOLATED if inside else Fidelity.CALIBRATED
        least = count * (3.0 * operator.n * operator.k * operator.weight_bits / 8) / self.peaks.memory_bytes_per_s  # weights once
        return Priced(np.maximum((start + wanted) / at, least), base.joules, base.bound, fidelity)

    def _points(self, operator: Operator, name: str) -> Points | None:
        points = self.table.points(*identity_of(operator, name))
        return gemm_points(self.table, operator, self.peaks) if points is None and isinstance(operator, Gemm) else points

    def _seconds(self, operator: Operator, points: Points, shapes: list[Float64]) -> tuple[Float64, NDArray[np.int8], bool]:
        start = 0.0 if isinstance(operator, Gemm) else float(points.seconds.min())
        ideal, _ = roofline.nominal(operator, self.peaks, *points.axes)
        if isinstance(operator, Gemm):
            shapes = [_up_to_measured(shapes[0], points.axes[0])]
        efficiency = evaluate(points.axes, (start + ideal) / points.seconds, tuple(s.ravel() for s in shapes))
        wanted, bound = roofline.nominal(operator, self.peaks, *shapes)
        seconds = (start + wanted) / efficiency.reshape(wanted.shape)
        bound[start > wanted] = int(Bound.LAUNCH)
        covered = [s <= top for s, top in zip(shapes, points.axes.max(axis=1), strict=True)]
        inside = bool(functools.reduce(np.logical_and, covered).mean() > MOSTLY)
        return np.maximum(seconds, roofline.floor(operator, self.peaks, *shapes)), bound, inside


def _up_to_measured(rows: Float64, measured: Float64) -> Float64:
    """Rows rounded up to the next measured count where that is less than TILE_ROWS away."""
    at = np.minimum(np.searchsorted(measured, rows), len(measured) - 1)
    up = measured[at]
    return np.where((up >= rows) & (up - rows < TILE_ROWS), up, rows)
