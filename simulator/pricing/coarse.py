"""The coarse grid of slow devices (`grid = "coarse"`): few shapes are priced, the canonical ones interpolated.

A decoder of a dozen operators takes about 300 shapes instead of 7,000: some seconds with a simulator that needs 30 ms a
shape, once, since the result is cached as any other. Along rows, batch and chunk time is interpolated as a power law
between two shapes: exact where time goes with a power of the size, at most 6 % above a + b x over a factor of four, and
19 % where a roofline turns inside a factor of two. Along context it is interpolated linearly (bytes and multiply-adds of
attention are affine in it). Steps of tiled hardware between two shapes are lost: fidelity is at best `interpolated`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.devices.device import Device, Fidelity, Priced
from simulator.model.operators import AXES, Operator

Float64 = NDArray[np.float64]

_ROWS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 16384)
_CHUNKS = (1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384)
_BATCHES = (1, 4, 16, 64, 128, 256, 1024)
_CONTEXTS = (0, 2048, 16384, 131072)
_LEAST = 1e-30  # seconds or joules that count as none


def price(device: Device, operator: Operator, axes: tuple[Float64, ...]) -> Priced:
    """Prices at `axes` (canonical knots: a first axis ascending from 1, and contexts) from few calls' worth of shapes."""
    first = axes[0].ravel()
    knots = {"chunk": _CHUNKS, "sequences": _BATCHES}.get(AXES[type(operator)][0], _ROWS)
    sizes = np.array([k for k in knots if k < first[-1]] + [first[-1]], dtype=np.float64)
    if len(axes) == 1:
        found = device.price(operator, sizes)
        row, share = _cells(np.log(sizes), np.log(first))
        return Priced(_along(found.seconds, row, share), _along(found.joules, row, share), found.bound[_near(row, share)],
                      _fidelity(found))
    second = axes[1].ravel()
    contexts = np.array([c for c in _CONTEXTS if c < second[-1]] + [second[-1]], dtype=np.float64)
    found = device.price(operator, sizes[:, None], contexts[None, :])
    row, share = _cells(np.log(sizes), np.log(first))
    column, part = _cells(contexts, second)
    seconds, joules = (_along(_lerp(values, column, part), row, share) for values in (found.seconds, found.joules))
    return Priced(seconds, joules, found.bound[np.ix_(_near(row, share), _near(column, part))], _fidelity(found))


def _fidelity(found: Priced) -> Fidelity:
    return max(found.fidelity, Fidelity.INTERPOLATED)


def _cells(knots: Float64, at: Float64) -> tuple[NDArray[np.int64], Float64]:
    """The cell of each point and the share of it that lies to the left."""
    left = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    return left, (at - knots[left]) / (knots[left + 1] - knots[left])


def _near(left: NDArray[np.int64], share: Float64) -> NDArray[np.int64]:
    return left + (share > 0.5)


def _along(values: Float64, left: NDArray[np.int64], share: Float64) -> Float64:
    """Power law along the first axis."""
    logs = np.log(np.maximum(values, _LEAST))
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    powers = np.exp(logs[left] * (1 - share) + logs[left + 1] * share)
    return np.where(powers <= 2 * _LEAST, 0.0, powers)


def _lerp(values: Float64, left: NDArray[np.int64], share: Float64) -> Float64:
    """Straight line along the second axis."""
    return values[:, left] * (1 - share) + values[:, left + 1] * share
