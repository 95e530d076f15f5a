"""The Newton-style PIM attention model, as NeuPIMs has it: banks opened a few at a time, whole requests on channels.

Where AttAcc opens all banks at once, Newton-style parts open them in groups limited by tFAW, one head's dot product is
one compound command, and no PIM command may start that might not end before the next refresh. Formulae and constants:
casys-kaist/NeuPIMs, NewtonSim (HBM2 1 GHz: timing.cc, channel_state.cc, configs/HBM2_8Gb_x128_dualpim.ini) and
NeuPIMSLogitSoftmax.cc / NeuPIMSAttend.cc.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

NEWTON_CLOCK_S = 1e-9


@dataclass(frozen=True)
class NewtonChannel:
    """One channel in cycles of 1 ns (HBM2 at 1 GHz)."""

    ranks: int = 2
    groups: int = 8  # groups of banks that open together, both ranks
    banks: int = 32
    row_elements: int = 512  # 1 KB rows of 16-bit elements
    lanes: int = 16  # multiply-adds of a bank per COMP
    t_faw: int = 30
    t_rcd: int = 14
    t_rtp: int = 5  # mean of tRTP_S 4 and tRTP_L 6
    t_rfc: int = 260
    t_refi: int = 3900
    comp: int = 2  # max(BL/2, tCCD_S)
    adder_tree: int = 6  # cycles before a dot product's first result
    row_gap: int = 4  # between compound commands of successive rows
    gwrite: int = 96  # writing a vector to the global buffer
    gwrite_open: int = 111  # the same and opening the first row
    v_floor: float = 210.0  # a V row with few COMPs takes no less: the reference's measured value
    # With one row buffer a bank's PIM row must be closed and its row cycle (tRC) be over before the next one opens;
    # with a second latch for PIM the next tile's activations hide (NewtonSim timing.cc:73-102).
    dual_row_buffer: bool = True
    t_rc: int = 48

    def row_cycles(self, heads: int, comps: float) -> float:
        """Mean cycles per row tile of `heads` dot products of `comps` COMP commands each, refresh deadlines counted."""
        activate = self.t_faw * (self.groups / self.ranks - 1) + self.t_rcd
        compute = heads * self.comp * (max(comps, self.adder_tree) + 1)
        tile = activate + compute + self.row_gap + (0 if self.dual_row_buffer else self.t_rc)
        # the controller's own estimate, which it wants to fit before the next refresh
        estimate = self.banks * self.t_rtp + activate + self.comp * heads * comps + self.comp * (heads - 1)
        period = self.t_refi / self.ranks
        fitting = math.floor((period - self.t_rfc - estimate) / tile) + 1
        if fitting < 1:  # never fits before a refresh: issued in two halves
            return 2 * self.row_cycles(math.ceil(heads / 2), comps)
        return period / fitting

    @property
    def host_share(self) -> float:
        """Share of a channel's bandwidth left to the host while PIM works: per row tile one command for every group of banks,
        a compound one and a precharge leave the rest of the command bus, which a full read stream needs whole."""
        return 1 - (self.groups + 2) / self.row_cycles(1, self.row_elements / self.lanes)

    def write_cycles(self, group: int) -> float:
        """Writing `group` vectors to the global buffer and opening the first row."""
        return self.gwrite_open + (group - 1) * self.gwrite


def attention_cycles(channel: NewtonChannel, context: Float64, heads: int, head_dim: int) -> Float64:
    """Cycles of one request's attention (K, then V) over its `context` tokens in its channel; shape of context.

    K: a row across the banks holds `banks` tokens of row_elements/head_dim heads. V: a row holds row_elements tokens of
    `banks` elements of one head.
    """
    packed = max(1, channel.row_elements // head_dim)
    rows = math.ceil(heads * head_dim / channel.row_elements)
    k_row = channel.row_cycles(packed, head_dim / channel.lanes)
    k = rows * (channel.gwrite_open + np.ceil(context / channel.banks) * k_row)
    v_comps = np.ceil(np.minimum(context, channel.row_elements) / channel.lanes)
    full_row = channel.row_cycles(1, channel.row_elements / channel.lanes)
    v_floor = channel.v_floor + (0 if channel.dual_row_buffer else channel.t_rc)
    v_row = np.where(v_comps >= channel.row_elements / channel.lanes, full_row, np.minimum(full_row, v_floor))
    v = (heads * np.ceil(context / channel.row_elements)
         * (channel.gwrite_open + math.ceil(head_dim / channel.banks) * v_row))
    return k + v


def request_line(channel: NewtonChannel, kv_heads: int, group: int, head_dim: int) -> tuple[float, float]:
    """(cycles per request, cycles per token of its context): the line through the mean of the staircase of
    `attention_cycles` at long contexts. The `group` query heads of a KV head repeat dot products on the open rows."""
    packed = max(1, channel.row_elements // head_dim)
    rows = math.ceil(kv_heads * head_dim / channel.row_elements)
    k_row = channel.row_cycles(packed * group, head_dim / channel.lanes)
    v_rows = math.ceil(head_dim / channel.banks) * channel.row_cycles(group, channel.row_elements / channel.lanes)
    v_chunk = channel.write_cycles(group) + v_rows
    half_k, half_v = ((n - 1) / (2 * n) for n in (channel.banks, channel.row_elements))
    constant = rows * (channel.write_cycles(group) + half_k * k_row) + kv_heads * half_v * v_chunk
    return constant, rows * k_row / channel.banks + kv_heads * v_chunk / channel.row_elements
