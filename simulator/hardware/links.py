"""Collectives and point-to-point transfers over the links inside a replica.

Time = launch (once) + steps x latency + bytes on the busiest link / its bandwidth; the fastest algorithm that the
topology allows counts. Every 256 B packet carries a 16 B header (LLMCompass, hardware_model/interconnect.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.compose import fingerprint_of
from simulator.hardware.energy import LINK_PJ_PER_BIT, PICO
from simulator.hardware.priced import Bound, Fidelity, Priced
from simulator.model.operators import Collective, Operator

Float64 = NDArray[np.float64]

HEADER_BYTES = 16.0
PAYLOAD_BYTES = 256.0


def on_wire(payload_bytes: Float64) -> Float64:
    """Bytes that a message occupies with the headers of its packets."""
    return payload_bytes + HEADER_BYTES * np.ceil(payload_bytes / PAYLOAD_BYTES)


@dataclass(frozen=True)
class LinkDevice:
    """Links of one device: `bandwidth_bytes_per_s` is its total per direction, over all peers."""

    bandwidth_bytes_per_s: float
    latency_s: float
    launch_s: float
    topology: Literal["ring", "fully_connected", "switch"]

    def fingerprint(self) -> str:
        return fingerprint_of("link", 1, self)

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Prices Collective; a collective of one rank costs nothing."""
        if not isinstance(operator, Collective):
            raise TypeError(f"a link does not run {type(operator).__name__}")
        size = np.asarray(axes[0], dtype=np.float64) * operator.bytes_per_row
        if operator.ranks == 1:
            zero = np.zeros_like(size)
            return Priced(zero, zero, np.full(size.shape, int(Bound.NETWORK), np.int8), Fidelity.ANALYTIC)
        latency, transfer, sent = self._best(operator.kind, operator.ranks, size)
        overhead = self.launch_s + latency
        bound = np.where(overhead > transfer, int(Bound.LAUNCH), int(Bound.NETWORK)).astype(np.int8)
        return Priced(overhead + transfer, sent * (8 * LINK_PJ_PER_BIT * PICO), bound, Fidelity.ANALYTIC)

    def _best(self, kind: str, ranks: int, size: Float64) -> tuple[Float64, Float64, Float64]:
        """(seconds of latency, seconds of transfer, bytes sent per rank) of the fastest algorithm, elementwise."""
        best: tuple[Float64, Float64, Float64] | None = None
        for steps, sent, bandwidth in self._algorithms(kind, ranks, size):
            latency, transfer = np.full(size.shape, steps * self.latency_s), sent / bandwidth
            if best is None:
                best = latency, transfer, sent
            else:
                faster = latency + transfer < best[0] + best[1]
                best = (np.where(faster, latency, best[0]), np.where(faster, transfer, best[1]),
                        np.where(faster, sent, best[2]))
        assert best is not None
        return best

    def _algorithms(self, kind: str, n: int, size: Float64) -> Iterator[tuple[int, Float64, float]]:
        """(steps, bytes each rank sends, bandwidth they go over) of every algorithm; size is the whole message.

        ring: each step one n-th to the neighbour. direct: one n-th to every peer at once. one-shot: everything to
        every peer, reduced locally. recursive doubling: everything to one partner per step (textbook forms; see Thakur
        et al., "Optimization of Collective Communication Operations in MPICH", 2005).
        """
        full = self.bandwidth_bytes_per_s
        part = on_wire(size / n)
        if kind == "p2p":
            # on a full mesh only the link to that peer carries it; taken as all of a device's links otherwise
            yield 1, on_wire(size), full
            return
        phases = 2 if kind == "all_reduce" else 1  # reduce-scatter then all-gather, or all-gather alone
        yield phases * (n - 1), phases * (n - 1) * part, full
        if self.topology == "ring":
            return
        yield phases, phases * (n - 1) * part, full
        if kind == "all_reduce":
            yield 1, (n - 1) * on_wire(size), full
            if self.topology == "switch":
                doublings = math.ceil(math.log2(n))
                yield doublings, doublings * on_wire(size), full
