"""Plausibility checks of an operator table, against physical limits and against its own rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices import roofline
from simulator.devices.measured.table import AXES, IDENTITY, KINDS, OperatorTable
from simulator.devices.roofline import Peaks
from simulator.model.operators import DecodeAttention, Gemm, Operator, PrefillAttention

# A board clocks above the boost clock its datasheet's peak is computed from; beyond this it is the table that is wrong.
ABOVE_PEAK = 1.10
SPIKE = 1.5  # a point this much above both neighbours along its last axis, with work in between, is called a spike
SPARSE = 16.0  # neighbours along an axis further apart than this factor leave a hole between them
SECONDS = (1e-7, 10.0)  # plausible times of one operator; outside, a unit was mistaken


@dataclass(frozen=True)
class Finding:
    """What is odd: the check, the kind of rows, how many of how many, and an example."""

    check: str
    kind: str
    count: int
    of: int
    example: str


def check(table: OperatorTable, peaks: Peaks | None) -> list[Finding]:
    """Everything odd about a table; empty where nothing is. Without peaks the roofline is not checked."""
    found = [*_units(table), *_duplicates(table), *_spikes(table), *_holes(table)]
    return found + (_below_roofline(table, peaks) if peaks is not None else [])


def _units(table: OperatorTable) -> list[Finding]:
    seconds, kind = table.columns["seconds"].astype(float), table.columns["kind"]
    odd = (kind != "decode_spread") & ((seconds < SECONDS[0]) | (seconds > SECONDS[1]))
    return [Finding("units", str(k), int((odd & (kind == k)).sum()), int((kind == k).sum()),
                    f"{seconds[odd & (kind == k)][0]:.3g} s") for k in KINDS if (odd & (kind == k)).any()]


def _duplicates(table: OperatorTable) -> list[Finding]:
    findings = []
    for kind in KINDS:
        rows = np.flatnonzero(table.columns["kind"] == kind)
        distinct = sum(len(points.seconds) for identity in table.identities(kind)
                       if (points := table.points(kind, identity)) is not None)
        if len(rows) > distinct:
            findings.append(Finding("duplicates", kind, len(rows) - distinct, len(rows), "averaged"))
    return findings


def _spikes(table: OperatorTable) -> list[Finding]:
    """Times that rise and fall again along the last axis, everything else equal."""
    findings = []
    for kind in KINDS:
        if kind == "decode_spread":
            continue
        count, total, example = 0, 0, ""
        for identity in table.identities(kind):
            points = table.points(kind, identity)
            assert points is not None
            total += len(points.seconds)
            order = np.lexsort(points.axes[::-1])
            axes, seconds = points.axes[:, order], points.seconds[order]
            same = (axes[:-1, 2:] == axes[:-1, :-2]).all(axis=0)
            spike = same & (seconds[1:-1] > SPIKE * seconds[:-2]) & (seconds[1:-1] > SPIKE * seconds[2:])
            if spike.any():
                at = int(np.flatnonzero(spike)[0]) + 1
                count += int(spike.sum())
                where = ", ".join(f"{name}={axes[i, at]:g}" for i, name in enumerate(AXES[kind]))
                example = example or f"{seconds[at] * 1e6:.1f} us at {where}"
        if count:
            findings.append(Finding("spikes", kind, count, total, example))
    return findings


def _holes(table: OperatorTable) -> list[Finding]:
    """Grid points that were not measured although a larger one was, and steps along an axis beyond SPARSE."""
    findings = []
    for kind in ("gemm", "vector", "prefill_attention", "decode_attention", "collective"):
        count, total, example = 0, 0, ""
        for identity in table.identities(kind):
            points = table.points(kind, identity)
            assert points is not None
            total += len(points.seconds)
            found, first = _grid_holes(points.axes) if len(points.axes) == 2 else _steps(points.axes[0])
            count += found
            if found and not example:
                example = ", ".join(f"{name}={value:g}" for name, value in zip(AXES[kind], first, strict=True))
        if count:
            findings.append(Finding("holes", kind, count, total, f"nothing at {example}"))
    return findings


def _grid_holes(axes: NDArray[np.float64]) -> tuple[int, tuple[float, ...]]:
    knots = [np.unique(axis) for axis in axes]
    held = np.zeros([len(k) for k in knots], dtype=bool)
    held[np.searchsorted(knots[0], axes[0]), np.searchsorted(knots[1], axes[1])] = True
    larger = held[::-1, ::-1]
    for axis in (0, 1):
        larger = np.logical_or.accumulate(larger, axis=axis)
    missing = np.argwhere(larger[::-1, ::-1] & ~held)
    return len(missing), tuple(float(k[i]) for k, i in zip(knots, missing[0], strict=True)) if len(missing) else ()


def _steps(axis: NDArray[np.float64]) -> tuple[int, tuple[float, ...]]:
    axis = np.sort(axis[axis > 0])
    wide = np.flatnonzero(axis[1:] > SPARSE * axis[:-1])
    return len(wide), (float(np.sqrt(axis[wide[0]] * axis[wide[0] + 1])),) if len(wide) else ()


def _below_roofline(table: OperatorTable, peaks: Peaks) -> list[Finding]:
    findings = []
    for kind in ("gemm", "prefill_attention", "decode_attention"):
        count, total, example = 0, 0, ""
        for identity in table.identities(kind):
            points = table.points(kind, identity)
            assert points is not None
            total += len(points.seconds)
            least = roofline.floor(_operator(kind, identity), peaks, *points.axes) / ABOVE_PEAK
            below = points.seconds < least
            if below.any():
                at = int(np.flatnonzero(below)[0])
                count += int(below.sum())
                where = ", ".join(f"{name}={points.axes[i, at]:g}" for i, name in enumerate(AXES[kind]))
                example = example or f"{points.seconds[at] * 1e6:.1f} us at {where}, least {least[at] * 1e6:.1f} us"
        if count:
            findings.append(Finding("below roofline", kind, count, total, example))
    return findings


def _operator(kind: str, identity: tuple[str | int, ...]) -> Operator:
    fields = dict(zip(IDENTITY[kind], identity, strict=True))
    record = {"gemm": Gemm, "prefill_attention": PrefillAttention, "decode_attention": DecodeAttention}[kind]
    return record(**fields)
