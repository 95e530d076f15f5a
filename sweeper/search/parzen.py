"""A multivariate Parzen estimator over mixed parameters: what TPE draws from and compares densities with.

A mixture of products: each observation is a kernel with one distribution per parameter, and a prior that covers every range
is the last kernel (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011, section 4; multivariate as
in Falkner et al., BOHB, ICML 2018). Bandwidths follow Watanabe, "Tree-structured Parzen estimator", arXiv 2304.11127,
section 3.3: a numeric kernel is a normal, truncated to its range, as wide as the larger gap to its neighbours, and at least
a hundredth of the range or the range over the number of kernels; a categorical one spreads 1 / kernels over all choices.

On coarse grids that is too narrow: most observations have a neighbour of the same value, get the least width there is, and
nearly every candidate is a copy of a known point. Here a kernel on a grid leaves its own level with a chance of at least
1 / parameters, so that a candidate changes one setting on average: the mutation rate that evolutionary algorithms take
(Baeck, ICGA 1993), as the least bandwidth of a discrete parameter (Watanabe on why there must be one). Grids with more levels
than observations keep the widths from above, which are larger. A fifth of that chance goes to any level, since the levels
between may be worse.

A kernel on few levels is a table of probabilities: the normal's mass between x - step/2 and x + step/2, over the mass of
the range. Sampling and densities are then look-ups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.special import ndtr, ndtri

from sweeper.search.gaussian import normal_cdf

Float64 = NDArray[np.float64]
MAX_LEVELS = 512  # of a grid that becomes a table; more are drawn as a continuum and rounded
FAR = 0.2  # of the chance of leaving, to any level
SMALLEST = 1e-300  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class Table:
    """One discrete parameter's kernels: probabilities [kernels, levels] of `low`, `low` + `step`, ..."""

    masses: Float64
    low: float
    step: float

    def sample(self, kernel: NDArray[np.int64], rng: np.random.RandomState) -> Float64:
        """A level of each of the given kernels."""
        below = np.cumsum(self.masses, axis=1)[kernel]
        level = (below < rng.rand(len(kernel))[:, None] * below[:, -1:]).sum(axis=1)
        return np.asarray(self.low + self.step * np.minimum(level, self.masses.shape[1] - 1))

    def log_density(self, values: Float64) -> Float64:
        """[kernels, values]."""
        level = np.rint((values - self.low) / self.step).astype(np.int64)
        return np.asarray(np.log(np.maximum(self.masses, SMALLEST))[:, level])


@dataclass(frozen=True)
class Normals:
    """One numeric parameter's kernels: normals, truncated to low..high; over the logarithm where `log`. step: 0 for a
    continuum. Densities leave out factors that are the same for all kernels: they cancel in a ratio."""

    mu: Float64  # [kernels]
    sigma: Float64  # [kernels]
    low: float
    high: float
    step: float
    log: bool

    def sample(self, kernel: NDArray[np.int64], rng: np.random.RandomState) -> Float64:
        """A value of each of the given kernels, by inversion."""
        low, high = self._edges(self.low - self.step / 2), self._edges(self.high + self.step / 2)
        start, stop = ndtr(low)[kernel], ndtr(high)[kernel]
        z = ndtri(start + rng.rand(len(kernel)) * (stop - start))
        values = self.mu[kernel] + self.sigma[kernel] * z
        values = np.exp(values) if self.log else values
        if self.step:
            values = self.low + self.step * np.rint((values - self.low) / self.step)
        return np.clip(values, self.low, self.high)

    def log_density(self, values: Float64) -> Float64:
        """[kernels, values]."""
        mass = ndtr(self._edges(self.high + self.step / 2)) - ndtr(self._edges(self.low - self.step / 2))
        z = (self._scaled(values)[None] - self.mu[:, None]) / self.sigma[:, None]
        return np.asarray(-0.5 * z * z - np.log(self.sigma * np.maximum(mass, SMALLEST))[:, None])

    def table(self, anywhere: float) -> Table | None:
        """The same on a grid, None for a continuum or too many levels. anywhere: the probability that is even over them."""
        levels = round((self.high - self.low) / self.step) + 1 if self.step else MAX_LEVELS + 1
        if levels > MAX_LEVELS:
            return None
        edges = self._scaled(self.low + self.step * (np.arange(levels + 1) - 0.5))
        pairs, inverse = np.unique(self.mu + 1j * self.sigma, return_inverse=True)  # few distinct ones
        z = (edges[None] - pairs.real[:, None]) / pairs.imag[:, None]
        masses = np.diff(normal_cdf(z.ravel()).reshape(z.shape), axis=1)
        masses /= masses.sum(axis=1, keepdims=True)
        masses = (1.0 - anywhere) * masses + anywhere / levels
        return Table(masses[inverse.ravel()], self.low, self.step)

    def _scaled(self, values: NDArray[Any]) -> Float64:
        return np.asarray(np.log(values) if self.log else values, dtype=np.float64)

    def _edges(self, value: float) -> Float64:
        return ((math.log(value) if self.log else value) - self.mu) / self.sigma


class ParzenEstimator:
    """The mixture of `observations` (name -> values [n] in Optuna's internal representation) over `space`.

    weights [n]: of the observations' kernels, 1 where absent; the prior has 1.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], observations: Mapping[str, Float64],
                 weights: Float64 | None = None) -> None:
        count = len(next(iter(observations.values())))
        weights = np.append(np.ones(count) if weights is None else weights, 1.0)
        self.weights: Float64 = weights / weights.sum()
        leaving = 1.0 / max(len(space), 2)
        self.kernels = {name: _kernels(distribution, np.asarray(observations[name], dtype=float), leaving)
                        for name, distribution in space.items()}

    def weigh(self, shares: Float64) -> None:
        """Gives the observations' kernels these shares (which sum to 1) of their weight. The prior keeps its own."""
        observed = self.weights[: len(shares)].sum()
        self.weights = np.append(observed * shares, self.weights[len(shares):])

    def sample(self, rng: np.random.RandomState, size: int) -> dict[str, Float64]:
        """Name -> values [size]."""
        kernel = rng.choice(len(self.weights), p=self.weights, size=size)
        return {name: kernels.sample(kernel, rng) for name, kernels in self.kernels.items()}

    def log_density(self, samples: Mapping[str, Float64]) -> Float64:
        """[samples], up to a constant that depends on the space alone."""
        total = np.log(np.maximum(self.weights, SMALLEST))[:, None]
        for name, kernels in self.kernels.items():
            total = total + kernels.log_density(np.asarray(samples[name], dtype=float))
        peak = total.max(axis=0)
        return np.asarray(np.log(np.exp(total - peak).sum(axis=0)) + peak)


def _kernels(distribution: BaseDistribution, seen: Float64, leaving: float) -> Table | Normals:
    """One parameter's kernels, the prior last. leaving: the least chance that a kernel on a grid leaves its own level."""
    if isinstance(distribution, CategoricalDistribution):
        return Table(_categorical(len(distribution.choices), seen.astype(np.int64), leaving), 0.0, 1.0)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    normals = _normals(distribution, seen)
    if normals.step and not normals.log:
        least = normals.step / 2 / NormalDist().inv_cdf(1.0 - leaving / 2)
        normals = replace(normals, sigma=np.maximum(normals.sigma, least))
    return normals.table(FAR * leaving) or normals


def _categorical(choices: int, seen: NDArray[np.int64], leaving: float) -> Float64:
    """[kernels, choices]."""
    kernels = len(seen) + 1
    weights = np.full((kernels, choices), 1.0 / kernels)
    weights[np.arange(len(seen)), seen] += 1
    weights /= weights.sum(axis=1, keepdims=True)
    if choices == 1:
        return weights
    own = weights.argmax(axis=1)[:, None] == np.arange(choices)
    narrow = weights.max(axis=1, keepdims=True) > 1.0 - leaving
    narrow[-1] = False  # the prior
    return np.where(narrow, np.where(own, 1.0 - leaving, leaving / (choices - 1)), weights)


def _normals(distribution: FloatDistribution | IntDistribution, seen: Float64) -> Normals:
    step = float(distribution.step or 0.0)
    low, high = distribution.low - step / 2, distribution.high + step / 2
    if distribution.log:
        seen, low, high = np.log(seen), math.log(low), math.log(high)
    order = np.argsort(seen)
    gaps = np.diff(np.concatenate([[low], seen[order], [high]]))
    wide = np.maximum(gaps[:-1], gaps[1:])
    if len(seen) > 1:  # the ends of the range are no neighbours
        wide[0], wide[-1] = gaps[1], gaps[-2]
    sigma = np.clip(wide[np.argsort(order)], (high - low) / min(100.0, len(seen) + 2.0), high - low)
    return Normals(np.append(seen, (low + high) / 2), np.append(sigma, high - low), float(distribution.low),
                   float(distribution.high), step, distribution.log)
