"""The curves of a design: each of its operators priced over the canonical grids, through the cost cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices.device import Device, Fidelity, Priced
from simulator.devices.experts import WithExperts
from simulator.inputs.errors import InputError
from simulator.model.operators import AXES, NamedOperator, Operator
from simulator.pricing import coarse, grids
from simulator.pricing.cache import CostCache, key_of

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One named operator over its grid. seconds, joules: one execution on one rank; bound: code at each shape.
    Shapes: rows [knots] for row-wise operators; [chunk, context] for prefill; [batch, context] for decode attention."""

    name: str
    part: str
    repeats: int
    seconds: Float64
    joules: Float64
    bound: Float64
    fidelity: Fidelity


@dataclass(frozen=True)
class RowCurves:
    """Row-wise curves stacked, to be evaluated at once. seconds, joules, bound: [curves, knots]; repeats: [curves, 1]."""

    at: list[int]  # where they stand among all curves
    knots: Float64
    repeats: Float64
    seconds: Float64
    joules: Float64
    bound: Float64


def row_curves(curves: list[Curve], parts: Collection[str]) -> RowCurves:
    """The curves of these parts, which all have the same knots."""
    at = [i for i, curve in enumerate(curves) if curve.part in parts]
    if not at:
        none = np.zeros((0, 1))
        return RowCurves(at, np.ones(1), none, none, none, none)
    chosen = [curves[i] for i in at]
    return RowCurves(at, grids.knots_of_size(grids.row_knots, 16384, len(chosen[0].seconds)),
                     np.array([c.repeats for c in chosen], dtype=float)[:, None],
                     *(np.array([getattr(c, name) for c in chosen]) for name in ("seconds", "joules", "bound")))


def price_all(operators: list[NamedOperator], device_of: Callable[[NamedOperator], Device], cache: CostCache,
              max_rows: int, max_sequences: int) -> list[Curve]:
    """The curves of all operators, each priced on the device that `device_of` says."""
    fingerprints: dict[int, str] = {}
    curves = []
    for op in operators:
        device = device_of(op)
        fingerprint = fingerprints.get(id(device)) or fingerprints.setdefault(id(device), device.fingerprint())
        curves.append(_price(op, device, fingerprint, cache, max_rows, max_sequences))
    return curves


def _price(named: NamedOperator, device: Device, fingerprint: str, cache: CostCache, max_rows: int,
           max_sequences: int) -> Curve:
    op = named.operator
    kind: type = type(op)
    axes, shape = _axes(kind, max_rows, max_sequences)

    slow = getattr(device, "grid", "canonical") == "coarse"

    def compute() -> Float64:
        able = device if getattr(device, "prices_experts", False) else WithExperts(device)
        with np.errstate(all="ignore"):  # what overflows is named below
            priced = coarse.price(able, op, axes) if slow else able.price(op, *axes)
        _check(priced, named, shape)
        return np.concatenate([priced.seconds.ravel(), priced.joules.ravel(), priced.bound.ravel().astype(float),
                               [float(priced.fidelity)]])

    flat = cache.get(_key(fingerprint, op, shape), compute)
    n = (len(flat) - 1) // 3
    return Curve(named.name, named.part, named.repeats, flat[:n].reshape(shape), flat[n: 2 * n].reshape(shape),
                 flat[2 * n: 3 * n].reshape(shape), Fidelity(int(flat[-1])))


@functools.lru_cache(maxsize=64)
def _axes(kind: type, max_rows: int, max_sequences: int) -> tuple[tuple[Float64, ...], tuple[int, ...]]:
    """The canonical shapes of a kind of operator, and the shape of its prices."""
    axes: tuple[Float64, ...] = (grids.row_knots(max_rows),)
    if AXES[kind][0] == "chunk":
        axes = (grids.chunk_knots()[:, None], grids.context_knots()[None, :])
    elif AXES[kind][0] == "sequences":
        axes = (grids.batch_knots(max_sequences)[:, None], grids.context_knots()[None, :])
    return axes, np.broadcast_shapes(*(a.shape for a in axes))


@functools.lru_cache(maxsize=16384)
def _key(fingerprint: str, operator: Operator, shape: tuple[int, ...]) -> int:
    """The cache key; the grids are code, and their shape says which of the family is meant."""
    return key_of(fingerprint, repr(operator), str(shape))


def _check(priced: Priced, named: NamedOperator, shape: tuple[int, ...]) -> None:
    """A device (a plug-in, say) that returns nonsense is stopped here, by name."""
    for field in ("seconds", "joules", "bound"):
        values = getattr(priced, field)
        if values.shape != shape:
            raise InputError(f"{named.name}: device returned {field} of shape {values.shape}, expected {shape}")
    if not (np.isfinite(priced.seconds).all() and (priced.seconds >= 0).all()):
        raise InputError(f"{named.name}: device returned a time that is negative or not finite", key="hardware")
