"""A small Gaussian process (Rasmussen & Williams 2006, algorithm 2.1): several outputs, one Matern-5/2 kernel.

Sharing the kernel means one Cholesky factor for all outputs. Length scales are one per parameter, by coordinate search
on the marginal likelihood (equation 2.30, summed over the outputs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

Float64 = NDArray[np.float64]
NOISE = 1e-3  # variance, of outputs scaled to 1: what a stationary kernel cannot follow counts as noise
FACTORS = (0.5, 2.0)  # tried on each length scale
LEAST, MOST = 0.05, 20.0  # length scales, of features in 0..1


def kernel(a: Float64, b: Float64) -> Float64:
    """Matern-5/2 correlation [len(a), len(b)] of features already divided by their length scales."""
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2.0 * (a @ b.T)
    squared *= 5.0
    np.maximum(squared, 0.0, out=squared)
    distance = np.sqrt(squared)
    squared /= 3.0
    squared += distance
    squared += 1.0
    np.negative(distance, out=distance)
    squared *= np.exp(distance, out=distance)
    return squared


@dataclass(frozen=True)
class Gaussian:
    """A fitted process; outputs are scaled to mean 0 and deviation 1 inside."""

    features: Float64  # [n, d], divided by the length scales
    scales: Float64  # [d]
    inverse: Float64  # [n, n], of the Cholesky factor
    weights: Float64  # [n, outputs]
    mean: Float64  # [outputs]
    deviation: Float64  # [outputs]

    def predict(self, features: Float64) -> tuple[Float64, Float64]:
        """Mean and standard deviation, each [m, outputs]."""
        single = np.float32  # half the time, and the noise is a thousandth
        cross = kernel((features / self.scales).astype(single), self.features.astype(single))
        mean = cross @ self.weights.astype(single) * self.deviation + self.mean
        explained = cross @ self.inverse.T.astype(single)
        variance = np.maximum(1.0 - np.einsum("ij,ij->i", explained, explained), 1e-6)
        return mean, np.sqrt(variance)[:, None] * self.deviation


def fit(features: Float64, outputs: Float64, scales: Float64) -> Gaussian:
    """The process through `outputs` [n, k] with the given length scales [d]."""
    mean, deviation = outputs.mean(axis=0), np.maximum(outputs.std(axis=0), 1e-9)
    scaled = features / scales
    lower = np.linalg.cholesky(kernel(scaled, scaled) + NOISE * np.eye(len(features)))
    inverse: Float64 = dtrtri(lower, lower=1)[0]  # of a triangle: a third of the work of a general inverse
    weights = inverse.T @ (inverse @ ((outputs - mean) / deviation))
    return Gaussian(scaled, scales, inverse, weights, mean, deviation)


def length_scales(features: Float64, outputs: Float64, owners: NDArray[np.int64], start: Float64,
                  sweeps: int = 1) -> Float64:
    """Better length scales [parameters] than `start`. owners: the parameter of each feature."""
    scaled = (outputs - outputs.mean(axis=0)) / np.maximum(outputs.std(axis=0), 1e-9)
    best = start.copy()
    highest = _likelihood(features / best[owners], scaled)
    for _ in range(sweeps):
        for parameter in range(len(best)):
            for factor in FACTORS:
                tried = best.copy()
                tried[parameter] = min(max(tried[parameter] * factor, LEAST), MOST)
                found = _likelihood(features / tried[owners], scaled)
                if found > highest:
                    best, highest = tried, found
                    break
    return best


def _likelihood(scaled: Float64, outputs: Float64) -> float:
    lower = np.linalg.cholesky(kernel(scaled, scaled) + NOISE * np.eye(len(scaled)))
    whitened = np.linalg.solve(lower, outputs)
    return -0.5 * float((whitened * whitened).sum()) - outputs.shape[1] * float(np.log(np.diag(lower)).sum()) \
        - 0.5 * outputs.size * math.log(2.0 * math.pi)


def normal_cdf(z: Float64) -> Float64:
    """Of the standard normal, at each of `z` [n]."""
    return 0.5 * np.array([math.erfc(value) for value in (-z / math.sqrt(2.0)).tolist()])
