"""Interpolation over measured points: along the last axis inside each row of the others, then across rows.

Grids need not be complete: two sweeps with different steps may be joined. What is interpolated is a slowly varying
ratio (efficiency), linearly in the axes; outside the measured range the boundary value is held.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def evaluate(axes: Float64, values: Float64, at: tuple[Float64, ...]) -> Float64:
    """`values` [points], known at `axes` [d, points], at the outer product of the `at` vectors: shape of their lengths."""
    if len(at) == 1:
        order = np.argsort(axes[0], kind="stable")
        return np.interp(at[0], axes[0][order], values[order])
    knots = np.unique(axes[0])
    rows = np.stack([evaluate(axes[1:, axes[0] == knot], values[axes[0] == knot], at[1:]) for knot in knots])
    return across(knots, rows, at[0])


def across(knots: Float64, rows: Float64, at: Float64) -> Float64:
    """Lerp between `rows` [knots, ...] along their first axis at every value of `at`, ends held."""
    if len(knots) == 1:
        return np.repeat(rows, len(at), axis=0)
    right = np.clip(np.searchsorted(knots, at), 1, len(knots) - 1)
    share = np.clip((at - knots[right - 1]) / (knots[right] - knots[right - 1]), 0.0, 1.0)
    share = share.reshape(-1, *[1] * (rows.ndim - 1))
    return rows[right - 1] * (1 - share) + rows[right] * share
