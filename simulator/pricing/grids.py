"""The canonical shapes that operators are priced at, the same for every design so that designs share prices.

Between two shapes time is interpolated linearly. Shapes stand on both sides of every multiple of 16 (rows; 256 above 2,048) or 8
(sequences), where tiled hardware steps, so that steps stay steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def _both_sides(start: int, stop: int, step: int) -> list[int]:
    return [edge + side for edge in range(start, stop + 1, step) for side in (0, 1)]


def row_knots(max_rows: int) -> Float64:
    """Rows (tokens or sequences) from 1 to at least `max_rows`: dense to 256, then both sides of tile edges.

    One grid serves all budgets up to 16,384, larger ones double it.
    """
    top = 16384
    while top < max_rows:
        top *= 2
    return _row_knots(top)


@lru_cache(maxsize=8)
def _row_knots(top: int) -> Float64:
    knots = [*range(1, 257), *_both_sides(256, 2048, 16), *_both_sides(2048, top, 256)]
    return _frozen(knots)


def batch_knots(max_sequences: int) -> Float64:
    """Sequences of a decode batch from 1 to at least `max_sequences`."""
    top = 1024
    while top < max_sequences:
        top *= 2
    return _batch_knots(top)


@lru_cache(maxsize=8)
def _batch_knots(top: int) -> Float64:
    return _frozen([*range(1, 33), *_both_sides(32, 256, 8), *_both_sides(256, top, 64)])


@lru_cache(maxsize=1)
def context_knots() -> Float64:
    """Context lengths: 0, then 2^k and 1.5 * 2^k from 64 to 131,072. Attention is close to affine in context (bytes and
    multiply-adds are); beyond the last knot the last cell is continued."""
    return _frozen([0, *(int(2**k * f) for k in range(6, 17) for f in (1, 1.5)), 131072])


@lru_cache(maxsize=1)
def chunk_knots() -> Float64:
    """Prefill chunks: dense to 16, then 6 per doubling to 16,384: a chord of c^2 is at most 0.4 % above the curve."""
    return _frozen([*range(1, 17), *(round(2 ** (k / 6)) for k in range(25, 85))])


def knots_of_size(grid: Callable[[int], Float64], top: int, size: int) -> Float64:
    """The grid of `grid`'s family (reaching top, 2 top, 4 top, ...) that has `size` knots."""
    while len(grid(top)) < size:
        top *= 2
    return grid(top)


def _frozen(values: list[int]) -> Float64:
    knots = np.asarray(sorted(set(values)), dtype=np.float64)
    knots.setflags(write=False)
    return knots


def spread(knots: Float64, histogram: NDArray[np.int64]) -> Float64:
    """Weights w over knots such that dot(w, curve(knots)) = sum over x of histogram[x] * interpolated curve(x), x >= 1.

    The adjoint of linear interpolation: one pass prices a whole run for every operator.
    """
    x = np.flatnonzero(histogram)
    x = x[1:] if len(x) and x[0] == 0 else x
    cells, shares = _cells(knots.tobytes(), len(histogram))
    return np.asarray(np.bincount(cells[:, x].ravel(), (histogram[x] * shares[:, x]).ravel(), len(knots)), dtype=np.float64)


@lru_cache(maxsize=64)  # all designs of a sweep have the same few grids
def _cells(raw_knots: bytes, size: int) -> tuple[NDArray[np.int64], Float64]:
    """For x in 0..size - 1 the knots on both sides of it and their shares, each [2, size]."""
    knots, x = np.frombuffer(raw_knots), np.arange(size)
    right = np.clip(np.searchsorted(knots, x), 1, len(knots) - 1)
    share = np.clip((x - knots[right - 1]) / (knots[right] - knots[right - 1]), 0.0, 1.0)
    return np.stack([right - 1, right]), np.stack([1 - share, share])
