"""Expert GEMMs on any device that prices plain ones.

The GEMMs of the experts that a batch wakes run side by side in one kernel (vLLM's fused MoE, CUTLASS grouped GEMM). With
a experts awake and m = rows x per_token / a rows each that is one GEMM of m rows and a x n columns: the same weights, the
same multiply-adds and the same tiles. Experts awake are a balls-in-bins expectation (`awake`), so the number is not whole:
the price is the blend of its two neighbours.

The expectation takes a router that spreads tokens evenly and independently, which training aims at (the load-balancing
loss of Switch Transformers, Fedus et al. 2021): a real one wakes fewer experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.priced import Device, Priced
from simulator.model.operators import Gemm, GroupedGemm, Operator

Float64 = NDArray[np.float64]


def awake(operator: GroupedGemm, rows: Float64) -> Float64:
    """Expected number of a rank's experts that get a token: each token misses an expert with 1 - per_token / of."""
    missed = (1.0 - operator.per_token / operator.of) ** rows
    return np.asarray(np.maximum(operator.experts * (1.0 - missed), np.minimum(rows, 1.0) * operator.experts / operator.of))


@dataclass(frozen=True)
class WithExperts:
    """`device`, pricing GroupedGemm too."""

    device: Device

    def fingerprint(self) -> str:
        return self.device.fingerprint()

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`."""
        if not isinstance(operator, GroupedGemm):
            return self.device.price(operator, *axes)
        (rows,) = axes
        count = np.clip(awake(operator, rows), 1.0, operator.experts)
        each = rows * (operator.per_token * operator.experts / operator.of) / count
        below = np.floor(count)
        low = self._side_by_side(operator, below, each)
        if (below == count).all():
            return low
        high = self._side_by_side(operator, np.ceil(count), each)
        share = count - below
        return Priced(low.seconds + (high.seconds - low.seconds) * share, low.joules + (high.joules - low.joules) * share,
                      np.where(share > 0.5, high.bound, low.bound).astype(np.int8), max(low.fidelity, high.fidelity))

    def _side_by_side(self, operator: GroupedGemm, count: Float64, each: Float64) -> Priced:
        seconds, joules, bound = np.empty(each.shape), np.empty(each.shape), np.empty(each.shape, np.int8)
        fidelity = None
        for n in np.unique(count):
            at = count == n
            wide = Gemm(int(n) * operator.n, operator.k, operator.weight_bits, operator.activation_bits)
            found = self.device.price(wide, each[at])
            seconds[at], joules[at], bound[at] = found.seconds, found.joules, found.bound
            fidelity = found.fidelity if fidelity is None else max(fidelity, found.fidelity)
        assert fidelity is not None
        return Priced(seconds, joules, bound, fidelity)
