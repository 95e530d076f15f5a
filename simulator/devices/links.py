"""The link model: collectives and point-to-point transfers over the links inside a replica.

Time = launch (once) + steps x latency + w + 2 sqrt(chunk overhead x w), w = bytes on the busiest link / its bandwidth;
the fastest algorithm that topology and protocols allow counts. The square root is a two-stage pipeline cut into its
best number of chunks: min over c of (c + 1)(overhead + w / c), less one overhead. Every 256 B packet carries a 16 B
header (LLMCompass, hardware_model/interconnect.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.devices.compose import fingerprint_of
from simulator.devices.device import Bound, Fidelity, Priced
from simulator.devices.torus import busy_share, sides
from simulator.model.operators import Collective, Operator
from simulator.silicon.energy import LINK_PJ_PER_BIT, PICO

Float64 = NDArray[np.float64]
Topology = Literal["ring", "fully_connected", "switch", "torus_2d", "torus_3d"]

# All-reduce inside the switch (NVLink SHARP): share of the bandwidth it reaches and its extra latency, as NCCL counts
# (NVIDIA/nccl, graph tuning: Hopper NVLS efficiency 0.85, NVLS latency 25 us).
IN_NETWORK_EFFICIENCY = 0.85
IN_NETWORK_LATENCY_S = 25e-6

HEADER_BYTES = 16.0
PAYLOAD_BYTES = 256.0


def on_wire(payload_bytes: Float64) -> Float64:
    """Bytes that a message occupies with the headers of its packets."""
    return payload_bytes + HEADER_BYTES * np.ceil(payload_bytes / PAYLOAD_BYTES)


@dataclass(frozen=True)
class Protocol:
    """One way of moving messages below `max_bytes`; `bandwidth_bytes_per_s` is a device's total per direction."""

    bandwidth_bytes_per_s: float
    latency_s: float
    launch_s: float
    chunk_overhead_s: float = 0.0
    max_bytes: float = math.inf

    def seconds(self, wire_bytes: Float64) -> Float64:
        """Time of moving `wire_bytes`, launch and latency apart."""
        wire_s = wire_bytes / self.bandwidth_bytes_per_s
        return wire_s + 2 * np.sqrt(self.chunk_overhead_s * wire_s)


@dataclass(frozen=True)
class LinkDevice:
    """Links of one device.

    bulk: the protocol of every collective; `ring_only` where its library walks rings whatever the topology (NCCL).
    small: a second protocol for all-reduces (direct kernels of serving engines), used where it is faster.
    in_network: the switch can reduce.
    wired_devices: devices of a fully connected node, each pair with a link of its own; 0: no more than the ranks.
    scale_out: the way between nodes of `node_devices`, where a replica spans several: collectives then go node by node
    (reduce-scatter inside, all-reduce of the share between nodes, all-gather inside), and stages send between nodes.
    """

    topology: Topology
    bulk: Protocol
    small: Protocol | None = None
    ring_only: bool = False
    in_network: bool = False
    wired_devices: int = 0
    scale_out: Protocol | None = None
    node_devices: int = 0

    @property
    def dimensions(self) -> int:
        """Of the torus that the links form, a ring being one of one dimension; 0 where peers see each other."""
        return {"ring": 1, "torus_2d": 2, "torus_3d": 3}.get(self.topology, 0)

    def fingerprint(self) -> str:
        return fingerprint_of("link", 4, self)

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Prices Collective; a collective of one rank costs nothing."""
        if not isinstance(operator, Collective):
            raise TypeError(f"a link does not run {type(operator).__name__}")
        size = np.asarray(axes[0], dtype=np.float64) * operator.bytes_per_row
        if operator.ranks == 1:
            zero = np.zeros_like(size)
            return Priced(zero, zero, np.full(size.shape, int(Bound.NETWORK), np.int8), Fidelity.ANALYTIC)
        if self.scale_out is not None and (operator.kind == "p2p" or operator.ranks > self.node_devices):
            overhead, transfer, sent = self._between_nodes(self.scale_out, operator.kind, operator.ranks, size)
        else:
            overhead, transfer, sent = self._fastest(operator.kind, operator.ranks, size)
        bound = np.where(overhead > transfer, int(Bound.LAUNCH), int(Bound.NETWORK)).astype(np.int8)
        return Priced(overhead + transfer, sent * (8 * LINK_PJ_PER_BIT * PICO), bound, Fidelity.ANALYTIC)

    def _fastest(self, kind: str, ranks: int, size: Float64) -> tuple[Float64, Float64, Float64]:
        """(seconds of launch and latency, seconds of transfer, bytes sent per rank), elementwise of the fastest way."""
        ways = [(self.bulk, *way) for way in self._algorithms(kind, ranks, size, self.ring_only)]
        if self.small is not None and kind == "all_reduce":
            ways += [(self.small, *way) for way in self._algorithms(kind, ranks, size, False)]
        overhead = transfer = np.full(size.shape, math.inf)
        sent = np.zeros(size.shape)
        for protocol, steps, load, sends in ways:
            fixed_s = protocol.launch_s + steps * protocol.latency_s
            wire_s = protocol.seconds(load)
            better = (fixed_s + wire_s < overhead + transfer) & (size < protocol.max_bytes)
            overhead, transfer, sent = (np.where(better, new, old) for new, old in (
                (fixed_s, overhead), (wire_s, transfer), (sends, sent)))
        if self.in_network and kind == "all_reduce":  # all goes up once, a share comes back
            wire_bytes = on_wire(size) * (1 + 1 / ranks)
            fixed_s = self.bulk.launch_s + IN_NETWORK_LATENCY_S
            wire_s = self.bulk.seconds(wire_bytes / IN_NETWORK_EFFICIENCY)
            better = fixed_s + wire_s < overhead + transfer
            overhead, transfer, sent = (np.where(better, new, old) for new, old in (
                (fixed_s, overhead), (wire_s, transfer), (wire_bytes, sent)))
        return overhead, transfer, sent

    def _between_nodes(self, out: Protocol, kind: str, ranks: int, size: Float64) -> tuple[Float64, Float64, Float64]:
        """As `_fastest`, for ranks on several nodes: inside nodes over all of a device's links, between them in a ring
        of same-numbered devices, one after the other."""
        if kind == "p2p":
            wire_bytes = on_wire(size)
            return np.full(size.shape, out.launch_s + out.latency_s), out.seconds(wire_bytes), wire_bytes
        if kind == "all_to_all":  # what stays inside and what leaves go side by side; peers on other nodes in turn
            away = ranks - self.node_devices
            inner = size * (self.node_devices / ranks)
            steps, load, inside = next(self._algorithms(kind, self.node_devices, inner, self.ring_only))
            leaving = away * on_wire(size / ranks)
            fixed_s = self.bulk.launch_s + max(steps * self.bulk.latency_s, away / self.node_devices * out.latency_s)
            return (np.full(size.shape, fixed_s), np.maximum(self.bulk.seconds(load), out.seconds(leaving)),
                    inside + leaving)
        nodes, phases = -(-ranks // self.node_devices), 2 if kind == "all_reduce" else 1
        steps, load, inside = next(self._algorithms(kind, self.node_devices, size, self.ring_only))
        between = phases * (nodes - 1) * on_wire(size / self.node_devices / nodes)
        fixed_s = self.bulk.launch_s + steps * self.bulk.latency_s + phases * (nodes - 1) * out.latency_s
        return np.full(size.shape, fixed_s), self.bulk.seconds(load) + out.seconds(between), inside + between

    def _algorithms(self, kind: str, n: int, size: Float64, ring_only: bool) -> Iterator[tuple[int, Float64, Float64]]:
        """(steps, bytes on the links in use as if all were, bytes each rank sends) of every algorithm for a whole message
        of `size` bytes.

        ring: each step one n-th to the neighbour; on a torus along one dimension after the other, parts of the message
        in different orders, so that all links are busy but those of dimensions with a single rank. direct (two-shot):
        one n-th to every peer at once. one-shot: everything to every peer, reduced locally. Textbook forms: Thakur et
        al., "Optimization of Collective Communication Operations in MPICH", 2005. all-to-all: see `_all_to_all`.
        """
        if kind == "p2p":
            yield 1, on_wire(size) * self._links_to_peers(), on_wire(size)
            return
        if n == 1:  # alone in its node: nothing to exchange
            yield 0, np.zeros_like(size), np.zeros_like(size)
            return
        if kind == "all_to_all":
            steps, load = self._all_to_all(n, size)
            yield steps, load, load
            return
        phases = 2 if kind == "all_reduce" else 1  # reduce-scatter then all-gather, or one of them alone
        parts = phases * (n - 1) * on_wire(size / n)
        load = parts / self._busy_share(n)
        if self.dimensions and not ring_only:
            split = sides(n, self.dimensions)
            yield phases * (sum(split) - len(split)), load, parts
            return
        if ring_only:
            yield phases * (n - 1), load, parts
            return
        yield phases, load, parts
        if kind == "all_reduce":
            everything = (n - 1) * on_wire(size)
            yield 1, everything / self._busy_share(n), everything

    def _busy_share(self, n: int) -> float:
        """Share of a device's links that a collective of n ranks can use: none leads elsewhere on a switch; on a torus
        those of dimensions with a single rank do, and where all devices are wired in pairs those to other devices."""
        if self.dimensions:
            return busy_share(sides(n, self.dimensions))
        return min(1.0, (n - 1) / (self.wired_devices - 1)) if self.wired_devices else 1.0

    def _links_to_peers(self) -> int:
        """Links among which a device's bandwidth is divided; a message to one peer has one of them."""
        if self.dimensions:
            return 2 * self.dimensions
        return max(self.wired_devices - 1, 1)

    def _all_to_all(self, n: int, size: Float64) -> tuple[int, Float64]:
        """(steps, bytes on a device's links). On a switch peers exchange directly, one after the other where the library
        walks rings otherwise (NCCL's sends and receives). On a torus of d dimensions, a ring being one, half of all pairs
        of ranks cross the middle of the longest side: 2 n / side links there, each of 1 / (2 d) of a device's
        bandwidth, carry n^2 / 4 of the n-ths one way; the longest way has half of every side."""
        part = on_wire(size / n)
        if not self.dimensions:
            return n - 1 if self.ring_only else 1, (n - 1) * part / self._busy_share(n)
        split = sides(n, self.dimensions)
        crossing = part * (n * max(split) * len(split) / 4)
        return max(sum(side // 2 for side in split), 1), np.maximum((n - 1) * part, crossing)
