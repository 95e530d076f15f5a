"""Checks of an operator table against physics and against itself, before anybody trusts it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.hardware.measured import roofline
from simulator.hardware.measured.roofline import Peaks
from simulator.hardware.measured.table import AXES, IDENTITY, KINDS, OperatorTable
from simulator.model.operators import DecodeAttention, Gemm, Operator, PrefillAttention

# A board clocks above the boost clock its datasheet's peak is computed from; beyond this it is the table that is wrong.
ABOVE_PEAK = 1.10
SPIKE = 1.5  # a point this much above both neighbours along its last axis, with work in between, is called a spike
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
    found = [*_units(table), *_duplicates(table), *_spikes(table)]
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
