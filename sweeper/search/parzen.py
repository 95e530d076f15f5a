"""Optuna's Parzen estimator for coarse grids: kernels no narrower than the grid, as tables of probabilities.

Optuna sets a kernel's width by the distance to the next observations. On few levels most have a neighbour of the same
value, get the least width there is, and nearly every candidate is a copy of a known point. Here a kernel leaves its own
level with a chance of at least 1 / parameters, so that a candidate changes one setting on average: the mutation rate that
evolutionary algorithms take (Baeck, ICGA 1993), as the least bandwidth of a discrete parameter (Watanabe,
arXiv 2304.11127, on why there must be one). Ranges with more levels than observations keep Optuna's widths, which are larger.
A fifth of that chance goes to any level, since the levels between may be worse.

Optuna draws from truncated normals by numerical inversion, which costs more than everything else in a suggestion.
On few levels (ordinals, steps) a kernel is the same distribution as a table: the mass between x - step/2 and x + step/2,
over the mass of the range. Sampling and densities are then look-ups. Spaces with a continuum keep Optuna's code.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

Float64 = NDArray[np.float64]
MAX_LEVELS = 512
FAR = 0.2  # of the chance of leaving, to any level
SMALLEST = 1e-300  # of a probability whose logarithm is taken


class TableParzenEstimator(_ParzenEstimator):
    """The base class's mixture, discrete kernels widened; `sample` and `log_pdf` by tables where every parameter has few levels."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        mixture = self._mixture_distribution
        leaving = 1.0 / max(len(mixture.distributions), 2)
        self._mixture_distribution = mixture = mixture._replace(
            distributions=[_widened(kernels, leaving) for kernels in mixture.distributions])
        self._kernel_weights: Float64 = mixture.weights
        self._tables = [_table(kernels, FAR * leaving) for kernels in mixture.distributions]
        self._usable = all(table is not None for table in self._tables)

    def weigh(self, shares: Float64) -> None:
        """Gives the observations' kernels these shares (which sum to 1) of their weight. The prior keeps its own."""
        observed = self._kernel_weights[: len(shares)].sum()
        self._kernel_weights = np.append(observed * shares, self._kernel_weights[len(shares):])
        self._mixture_distribution = self._mixture_distribution._replace(weights=self._kernel_weights)

    def sample(self, rng: np.random.RandomState, size: int) -> dict[str, Float64]:
        if not self._usable:
            return super().sample(rng, size)
        kernel = rng.choice(len(self._kernel_weights), p=self._kernel_weights, size=size)
        result: dict[str, Float64] = {}
        for name, table in zip(self._search_space, self._tables, strict=True):
            assert table is not None
            masses, low, step = table
            below = np.cumsum(masses, axis=1)[kernel]
            level = (below < rng.rand(size)[:, None] * below[:, -1:]).sum(axis=1)
            result[name] = low + step * np.minimum(level, masses.shape[1] - 1)
        return result

    def log_pdf(self, samples_dict: dict[str, Float64]) -> Float64:
        if not self._usable:
            density: Float64 = super().log_pdf(samples_dict)
            return density
        total = np.log(np.maximum(self._kernel_weights, SMALLEST))[:, None]
        for name, table in zip(self._search_space, self._tables, strict=True):
            assert table is not None
            masses, low, step = table
            level = np.rint((np.asarray(samples_dict[name], dtype=float) - low) / step).astype(np.int64)
            total = total + np.log(np.maximum(masses, SMALLEST))[:, level]
        peak = total.max(axis=0)
        return np.asarray(np.log(np.exp(total - peak).sum(axis=0)) + peak)


def _widened(kernels: Any, leaving: float) -> Any:
    """One parameter's kernels, each but the prior (the last) leaving its own level with a chance of at least `leaving`."""
    if hasattr(kernels, "weights"):  # categorical
        weights: Float64 = kernels.weights
        others = weights.shape[1] - 1
        if not others:
            return kernels
        own = weights.argmax(axis=1)[:, None] == np.arange(others + 1)
        wide = np.where(own, 1.0 - leaving, leaving / others)
        narrow = weights.max(axis=1, keepdims=True) > 1.0 - leaving
        narrow[-1] = False
        return kernels._replace(weights=np.where(narrow, wide, weights))
    if not kernels.step or kernels.is_log:
        return kernels
    least = kernels.step / 2 / NormalDist().inv_cdf(1.0 - leaving / 2)
    return kernels._replace(sigma=np.maximum(kernels.sigma, least))


def _table(kernels: Any, anywhere: float) -> tuple[Float64, float, float] | None:
    """(probabilities [kernels, levels], first level, step) of one parameter's kernels; None where it has too many levels.

    anywhere: the probability of an ordered parameter that is even over its levels.
    """
    if hasattr(kernels, "weights"):  # categorical
        return kernels.weights, 0.0, 1.0
    if not kernels.step or kernels.is_log:
        return None
    levels = round((kernels.high - kernels.low) / kernels.step) + 1
    if levels > MAX_LEVELS:
        return None
    edges = kernels.low + kernels.step * (np.arange(levels + 1) - 0.5)
    pairs, inverse = np.unique(kernels.mu + 1j * kernels.sigma, return_inverse=True)  # few distinct ones
    masses = np.diff([[_normal_cdf((edge - pair.real) / pair.imag) for edge in edges] for pair in pairs], axis=1)
    masses /= masses.sum(axis=1, keepdims=True)
    masses = (1.0 - anywhere) * masses + anywhere / levels
    return masses[inverse.ravel()], float(kernels.low), float(kernels.step)


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
