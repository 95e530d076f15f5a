"""The expert GEMMs of a mixture of experts, on any device that models plain GEMMs.

The GEMMs of the experts that a batch wakes run side by side in one kernel (vLLM's fused MoE, CUTLASS grouped GEMM). With
a experts awake and m = rows x per_token / a rows each that is one GEMM of m rows and a x n columns: the same weights, the
same multiply-adds and the same tiles. Experts awake are a balls-in-bins expectation (`awake`), so the number is not whole:
the price is the blend of its two neighbours.

Training aims at a router that spreads tokens evenly (the load-balancing loss of Switch Transformers, Fedus et al. 2021); a
real one has favourites and wakes fewer experts. With popularities x per_token / of, x gamma distributed with mean 1, tokens
independent, the share of experts that m tokens leave asleep is (1 + m p / shape)^-shape, p = per_token / of; (1 - p)^m for
an even router.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices.device import Device, Priced
from simulator.model.operators import ExpertBlock, Gemm, GroupedGemm, Operator

Float64 = NDArray[np.float64]


def sum_of(parts: list[Float64]) -> Float64:
    """Elementwise."""
    return np.asarray(np.sum(parts, axis=0))


def awake(operator: GroupedGemm, rows: Float64) -> Float64:
    """Expected number of a rank's experts that get a token; of one token, those that it picks."""
    picked = operator.per_token / operator.of
    shape = operator.evenness
    missed = (1.0 - picked) ** rows if np.isinf(shape) else (1.0 + rows * picked / shape) ** -shape
    return np.asarray(operator.experts * np.maximum(1.0 - missed, np.minimum(rows, 1.0) * picked))


@dataclass(frozen=True)
class Load:
    """What reaches the experts of the busiest rank, shape of rows. awake: experts with a token; visits: tokens of them, added
    up."""

    awake: Float64
    visits: Float64

    def tiles(self, height: int) -> Float64:
        """Pieces of `height` rows, every expert's last one partly filled."""
        each = self.visits / self.awake
        return np.asarray(self.awake * np.maximum(1.0, each / height + (height - 1) / (2 * height)))


def load_of(operator: ExpertBlock, rows: Float64) -> Load:
    """The expected load of the busiest of the ranks that share the experts: with popularities of variance 1 / evenness and
    independent tokens a rank's load scatters by sigma, and the largest of R is about 1 + sigma sqrt(2 ln R) times the mean."""
    mean = rows * operator.visits
    ranks = operator.of / operator.experts
    spread = 1 / (operator.evenness * operator.experts) + (1 - 1 / ranks) / np.maximum(mean, 1e-9)
    most = np.minimum(1 + np.sqrt(spread * (2 * np.log(ranks))), ranks)
    return Load(np.clip(awake(operator.up, rows), 1.0, operator.experts), mean * most)


@dataclass(frozen=True)
class WithExperts:
    """`device`, pricing GroupedGemm and ExpertBlock too."""

    device: Device

    def fingerprint(self) -> str:
        return self.device.fingerprint()

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`."""
        if isinstance(operator, ExpertBlock) and not getattr(self.device, "prices_expert_blocks", False):
            parts = [self.price(part, *axes) for part in (operator.up, operator.down, operator.between)]
            return Priced(sum_of([part.seconds for part in parts]), sum_of([part.joules for part in parts]), parts[0].bound,
                          max(part.fidelity for part in parts))
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
            wide = Gemm(int(n) * operator.n, operator.k, operator.weight_bits, operator.activation_bits, operator.scales)
            found = self.device.price(wide, each[at])
            seconds[at], joules[at], bound[at] = found.seconds, found.joules, found.bound
            fidelity = found.fidelity if fidelity is None else max(fidelity, found.fidelity)
        assert fidelity is not None
        return Priced(seconds, joules, bound, fidelity)
