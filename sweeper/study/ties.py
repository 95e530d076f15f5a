"""Ties: designs that differ by less than the noise, by paired differences over replicates that all designs share.

Two designs A and B have objective values a, b (smaller is better here) and replicates a[k], b[k] of them, measured on the
same k-th trace. The difference a - b has the standard error s of the mean of a[k] - b[k], and the interval
a - b +- t s, where t is Student's quantile for n - 1 degrees of freedom. The intervals of a pair's objectives hold together
with 95 % (Bonferroni: 1 - 5 % / m each, m objectives whose differences vary at all). Common random numbers make s much
smaller than either design's own noise (Law, "Simulation Modeling and Analysis", 5th ed., 10.2 and 11.2).

- A is surely better in an objective where its whole interval is below 0; where nothing varies, where a < b.
- A and B tie where neither is surely better in any objective.
- A design behind the front is within the noise of it where it ties with every design of the front that dominates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.confidence import CONFIDENCE, standard_errors, t_quantile

Float64 = NDArray[np.float64]
CHUNK = 4_000_000  # numbers in one array of differences


@dataclass(frozen=True)
class Measured:
    """Designs with their objectives, smaller is better. values [designs, objectives], replicates [..., n], n >= 2.

    Indexing works on the designs' axis, as on an array.
    """

    values: Float64
    replicates: Float64

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Measured:
        return Measured(self.values[rows], self.replicates[rows])


@dataclass(frozen=True)
class Close:
    """Indices. among: design of the front -> those of the front that it ties with (none: absent). near: design behind the
    front but within its noise -> the designs of the front that it ties with."""

    among: dict[int, list[int]]
    near: dict[int, list[int]]


def differences(a: Measured, b: Measured) -> tuple[Float64, Float64]:
    """(a - b, half-widths of their joint 95 % intervals), both [..., objectives]; `a` and `b` as numpy broadcasts them."""
    count = a.replicates.shape[-1]
    errors = standard_errors(a.replicates - b.replicates)
    varying = (errors > 0).sum(axis=-1, keepdims=True)
    quantiles = np.array([t_quantile(count, 1 - (1 - CONFIDENCE) / max(m, 1)) for m in range(errors.shape[-1] + 1)])
    return a.values - b.values, np.where(errors > 0, quantiles[varying] * errors, 0.0)


def tied(a: Measured, b: Measured) -> NDArray[np.bool_]:
    """[...]: whether no objective's interval excludes 0; `a` and `b` as numpy broadcasts them."""
    difference, half = differences(a, b)
    return np.asarray((np.abs(difference) <= half).all(axis=-1))


def close(front: Measured, others: Measured) -> Close:
    """Ties among the designs of a Pareto front, and of the designs behind it with them."""
    among = np.array([tied(front[i], front) for i in range(len(front))], dtype=bool).reshape(len(front), len(front))
    np.fill_diagonal(among, False)
    near: dict[int, list[int]] = {}
    step = max(1, CHUNK // max(front.values.size, 1))
    for start in range(0, len(others), step):
        rows = others[start: start + step]
        worse = rows.values[:, None] - front.values[None]
        behind: NDArray[np.bool_] = np.all(worse >= 0, axis=-1) & np.any(worse > 0, axis=-1)
        some = np.flatnonzero(behind.any(axis=1))  # one dominating design tells most of them off
        some = some[tied(rows[some], front[behind[some].argmax(axis=1)])]
        for i in some.tolist():
            same = tied(rows[i], front)
            if bool((same | ~behind[i]).all()):
                near[start + i] = np.flatnonzero(same).tolist()
    return Close(_lists(among), near)


def measured(values: Sequence[Sequence[float]], replicates: Sequence[Sequence[Sequence[float]]], signs: Float64) -> Measured:
    """From objectives in their own directions; `signs` [objectives]: 1 for those to minimise, -1 for the others."""
    return Measured(np.array(values, dtype=np.float64) * signs, np.array(replicates, dtype=np.float64) * signs[:, None])


def _lists(pairs: NDArray[np.bool_]) -> dict[int, list[int]]:
    return {i: np.flatnonzero(row).tolist() for i, row in enumerate(pairs) if row.any()}
