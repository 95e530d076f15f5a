"""Cycles of a GEMM on one systolic array: exact fold counts, vectorised over the rows m.

out[m, n] = in[m, k] @ weights[k, n] is laid on an R x C array as (spatial rows, spatial columns, time):
output-stationary (m, n, k), weight-stationary (k, n, m), input-stationary (k, m, n).

Unpipelined, one fold after the other: folds x (R + C + T - 2), and R more per fold to load a stationary operand. This
is SCALE-Sim 3's compute time to the cycle (it prints the index of the last cycle, one less).
Pipelined, as ONNXim and NeuPIMs do: the next stationary tile loads while the present one streams, so a fold costs
max(R, T) (T where nothing is preloaded: accumulators are double-buffered), and skew and drain R + C - 2 are paid once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Dataflow = Literal["output_stationary", "weight_stationary", "input_stationary"]


@dataclass(frozen=True)
class Folds:
    """How a GEMM lies on an array; the three arrays have the shape of m."""

    count: Float64  # array-sized pieces of the two spatial dimensions
    streamed: Float64  # cycles that one fold streams (the time dimension)
    preload: float  # cycles to load a fold's stationary operand
    skew: float  # R + C - 2


def folds(m: Float64, n: int, k: int, rows: int, columns: int, dataflow: Dataflow) -> Folds:
    """Fold count and lengths on an array of `rows` x `columns`; a ragged edge costs a full fold."""
    one = np.ones_like(m)
    if dataflow == "output_stationary":
        count, streamed, preload = np.ceil(m / rows) * -(-n // columns), k * one, 0.0
    elif dataflow == "weight_stationary":
        count, streamed, preload = one * (-(-k // rows) * -(-n // columns)), m * one, float(rows)
    else:
        count, streamed, preload = -(-k // rows) * np.ceil(m / columns), n * one, float(rows)
    return Folds(count, streamed, preload, float(rows + columns - 2))


def gemm_cycles(m: Float64, n: int, k: int, rows: int, columns: int, dataflow: Dataflow, *, pipelined: bool,
                arrays: int = 1) -> Float64:
    """Compute cycles (operands always at hand) of a GEMM on `arrays` equal arrays, shape of m.

    Several arrays share the folds, or share the streamed dimension of every fold, or both: the fastest split counts.
    Partial sums of different arrays meet in the accumulator memory as they drain (as in NeuPIMs' core): no extra time.
    """
    cycles, _ = _splits(m, n, k, rows, columns, dataflow, pipelined, arrays)
    return np.asarray(cycles.min(axis=0))


def filling(m: Float64, n: int, k: int, rows: int, columns: int, dataflow: Dataflow, *, pipelined: bool,
            arrays: int = 1) -> NDArray[np.bool_]:
    """Where loading the operand that stays takes longer than streaming the other past it, shape of m."""
    cycles, loads = _splits(m, n, k, rows, columns, dataflow, pipelined, arrays)
    return np.take_along_axis(loads, cycles.argmin(axis=0)[None], axis=0)[0]


def _splits(m: Float64, n: int, k: int, rows: int, columns: int, dataflow: Dataflow, pipelined: bool,
            arrays: int) -> tuple[Float64, NDArray[np.bool_]]:
    """Cycles of every split over the arrays, and whether loading is the longer part there."""
    laid = folds(m, n, k, rows, columns, dataflow)
    ways = np.reshape(stream_splits(arrays), (-1, *(1,) * m.ndim))
    per_array, streamed = np.ceil(laid.count / (arrays // ways)), np.ceil(laid.streamed / ways)
    if pipelined:
        cycles = per_array * np.maximum(laid.preload, streamed) + laid.skew
    else:
        cycles = per_array * (laid.preload + streamed + laid.skew)
    return cycles, np.broadcast_to(laid.preload > streamed, cycles.shape)


def stream_splits(arrays: int) -> list[int]:
    """Over how many arrays a fold's streamed dimension may be cut: powers of two, and all of them."""
    ways = [1]
    while ways[-1] * 2 <= arrays:
        ways.append(ways[-1] * 2)
    return ways if ways[-1] == arrays else [*ways, arrays]
