"""Confidence intervals of means over replicates: Student's t (Law, "Simulation Modeling and Analysis", 5th ed., 4.5).

Replicates are independent and identically distributed by construction (other seeds), so that the interval mean +- half
width covers the expectation with the stated probability where they are normal, and nearly so where they are not too
skewed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95


@lru_cache(maxsize=256)
def t_quantile(count: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t with `count` - 1 degrees of freedom; infinite for a single value."""
    if count < 2:
        return float("inf")
    from scipy.special import stdtrit  # here, since most runs need none of scipy

    return float(stdtrit(count - 1, 1 - (1 - confidence) / 2))


def standard_errors(values: ArrayLike) -> NDArray[np.float64]:
    """Of the means over the last axis [..., n], n >= 2; exactly 0 where all values are equal."""
    table = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # infinite values have no standard error: NaN
        errors = table.std(axis=-1, ddof=1) / np.sqrt(table.shape[-1])
    return np.where(table.max(axis=-1) == table.min(axis=-1), 0.0, errors)


def half_width(values: Sequence[float], confidence: float = CONFIDENCE) -> float:
    """Of the confidence interval of the mean of at least two values; exactly 0 where all are equal."""
    return t_quantile(len(values), confidence) * float(standard_errors(values))


def shown(width: float) -> str:
    """A half-width for people: two digits, large ones in full."""
    return f"{width:,.0f}" if width >= 100 else f"{width:.2g}"


def mean_metrics(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric that all replicates have; exactly the value where all replicates have the same."""
    if len(runs) == 1:
        return dict(runs[0])
    return {name: value if all(run[name] == value for run in runs) else float(np.mean([run[name] for run in runs]))
            for name, value in runs[0].items() if all(name in run for run in runs)}


def half_widths(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The half-width of every metric that differs between replicates, in the metric's unit; none that is not finite."""
    if len(runs) == 1:
        return {}
    found = {name: half_width([run[name] for run in runs]) for name in runs[0] if all(name in run for run in runs)}
    return {name: width for name, width in found.items() if 0 < width < float("inf")}
