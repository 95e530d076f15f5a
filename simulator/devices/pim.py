"""The PIM model: decode attention inside the DRAM stacks that hold the KV cache.

How work lies on the channels (`mapping`): `head`, every KV head of every request on one channel; `request`, all of a
request's KV heads on one channel; `sequence`, every KV head's tokens over all channels, partial results gathered. The
busiest channel sets the time. Contexts of a batch differ, so it is priced at its mean context, on the mean of the
row-packing staircase.

Latent decode is MQA: all query heads of the rank repeat their MAC commands on the open rows of the one latent head, so MACs bind,
not rows: with 128 query heads bank units multiply 128 times what they read. A window's or a run's tokens alone are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices.compose import fingerprint_of, priced
from simulator.devices.device import Bound, Priced
from simulator.devices.newton import NEWTON_CLOCK_S, NewtonChannel, request_line
from simulator.devices.pim_timing import PimTiming, Unit, head_line, host_share, mac_bytes_per_s
from simulator.model.operators import OUTPUT_BYTES, DecodeAttention, Operator, seen_keys
from simulator.silicon import energy

Float64 = NDArray[np.float64]

PARTIAL_BYTES = 4.0  # partial sums of a split sequence in fp32


@dataclass(frozen=True)
class PimDevice:
    """The PIM stacks behind a tensor-parallel group, of which one rank's share is priced.

    `sharers` ranks deal their heads together over `sharers * channels` channels: 1 where every rank has its own stacks,
    the tensor degree where the stacks are pooled.
    """

    timing: PimTiming
    unit: Unit
    power_limited: bool
    mapping: str
    channels: int  # one rank's share
    sharers: int
    link_bytes_per_s: float  # between a rank and its PIM: queries in, results out
    link_latency_s: float
    launch_s: float
    newton: NewtonChannel | None = None  # Newton-style commands instead of `timing`

    def fingerprint(self) -> str:
        return fingerprint_of("pim", 3, self)

    @property
    def host_share(self) -> float:
        """Share of the same stacks' bandwidth that the host keeps while PIM works, with a dual row buffer."""
        return self.newton.host_share if self.newton else host_share(self.timing, power_limited=self.power_limited)

    def price(self, operator: Operator, *axes: Float64) -> Priced:
        """See `Device.price`. Prices DecodeAttention only; axes are sequences and their mean context."""
        if not isinstance(operator, DecodeAttention):
            raise TypeError(f"PIM does not run {type(operator).__name__}")
        sequences, context = (np.asarray(axis, dtype=np.float64) for axis in axes)
        context = seen_keys(operator, context)
        head_s, token_s = self._line(operator)
        if self.mapping == "sequence":
            share = token_s * context / (self.channels * self.sharers)
            busy_s = sequences * (operator.kv_heads * self.sharers) * (head_s + share + self._gather_s(operator))
        elif self.mapping == "request":
            rounds = np.ceil(sequences / self.channels)
            busy_s = rounds * operator.kv_heads * (head_s + token_s * context)
        else:
            heads = sequences * (operator.kv_heads * self.sharers)
            busy_s = np.ceil(heads / (self.channels * self.sharers)) * (head_s + token_s * context)
        busy_s = busy_s + sequences * (self._request_bytes(operator) / self.link_bytes_per_s)
        return priced(self.fixed_seconds(), [(Bound.PIM, busy_s)], self._joules(operator, sequences, context))

    def roofline_s(self, operator: DecodeAttention, sequences: Float64, context: Float64) -> Float64:
        """Seconds below which no batch can run: every query head of a group multiplies its keys and values once, at the
        MAC commands' own rate on all channels, without row openings, refresh, imbalance or transfers."""
        group = operator.heads // operator.kv_heads
        multiplied = operator.kv_heads * (operator.head_dim + operator.values) * operator.kv_bits / 8
        return sequences * seen_keys(operator, context) * multiplied * group / (self.channels * self._mac_bytes_per_s)

    @property
    def _mac_bytes_per_s(self) -> float:
        """Bytes that one channel's units multiply per second, MAC commands back to back."""
        if self.newton is not None:
            return 2.0 * self.newton.lanes * self.newton.banks / (self.newton.comp * NEWTON_CLOCK_S)  # 16-bit elements
        return mac_bytes_per_s(self.timing, self.unit, power_limited=self.power_limited)

    def channel_costs(self, operator: DecodeAttention) -> tuple[int, float, float]:
        """(channels, seconds per request, seconds per token of its context) where whole requests sit on channels: what
        an engine needs to find the busiest channel itself.

        The link carries all requests one after the other: a request's transfer counts once per channel, so that evenly
        dealt requests add up to the whole. `fixed_seconds` (launch, link latency) is not in it.
        """
        head_s, token_s = self._line(operator)
        request_s = operator.kv_heads * head_s + self.channels * self._request_bytes(operator) / self.link_bytes_per_s
        return self.channels, request_s, operator.kv_heads * token_s

    def fixed_seconds(self) -> float:
        """What one decode attention takes whatever the batch: launch, and the link's latency there and back."""
        return self.launch_s + 2 * self.link_latency_s

    def _request_bytes(self, operator: DecodeAttention) -> float:
        """Query, new key and value to the stacks, result back, of one request."""
        return operator.query_bytes + operator.kv_bytes

    def _line(self, operator: DecodeAttention) -> tuple[float, float]:
        """Seconds of one KV head of one request in one channel: (constant, per token)."""
        if self.newton is not None:
            group = operator.heads // operator.kv_heads
            width = (operator.head_dim + operator.values) // 2
            request, token = request_line(self.newton, operator.kv_heads, group, width)
            return request / operator.kv_heads * NEWTON_CLOCK_S, token / operator.kv_heads * NEWTON_CLOCK_S
        # keys and values are half of the line each: a latent is read once for scores and once, without its rope part, for values
        head, token = (sum(parts) / 2 for parts in zip(*(
            head_line(self.timing, self.unit, power_limited=self.power_limited, head_dim=width, element_bytes=operator.kv_bits / 8,
                      group=operator.heads // operator.kv_heads) if width else (0.0, 0.0)
            for width in (operator.head_dim, operator.values)), strict=True))
        return head * self.timing.clock_s, token * self.timing.clock_s

    def _gather_s(self, operator: DecodeAttention) -> float:
        """Draining one channel's partial result of every query head of a group over the channel's bus."""
        column_s = self.timing.burst * self.timing.clock_s / self.timing.pseudo_channels
        group_bytes = operator.heads / operator.kv_heads * operator.values * PARTIAL_BYTES
        return group_bytes / self.timing.column_bytes * column_s

    def _joules(self, operator: DecodeAttention, sequences: Float64, context: Float64) -> Float64:
        group = operator.heads / operator.kv_heads
        kv_bits = sequences * context * (operator.kv_heads * (operator.head_dim + operator.values) * operator.kv_bits)
        macs = sequences * context * (operator.heads * (operator.head_dim + operator.values))
        moved_bits = sequences * (operator.heads * (operator.head_dim * operator.activation_bits
                                                    + operator.values * 8 * OUTPUT_BYTES))
        read_pj = energy.CELL_ACTIVATE_PJ_PER_BIT + group * energy.pim_read_pj_per_bit(self.unit)
        return (kv_bits * read_pj + macs * (energy.PIM_MAC_PJ * operator.matrix_bits / 16)
                + moved_bits * energy.LINK_PJ_PER_BIT) * energy.PICO


def rank_channels(stacks: float, timing: PimTiming) -> int:
    """PIM channels that are one rank's share; a fraction of a pooled stack counts by its channels."""
    return max(1, int(stacks * timing.channels + 1e-9))
