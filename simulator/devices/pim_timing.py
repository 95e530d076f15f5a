"""Cycles of decode attention inside one PIM stack, from DRAM timing (no bandwidth multiplier, nothing fitted).

Organisation and command flow follow AttAcc (ASPLOS 2024; scale-snu/attacc_simulator, HBM3-PIM.cpp and
trace_gen/gen_trace_attacc_*.py): a KV head's cache lives in one channel; K is dealt by tokens over pseudo-channels,
ranks and bank groups and by head dimension over the banks of a group, V the other way; every MAC command works one
column of every bank. Softmax and vector moves of one head hide under the MACs of another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError

Float64 = NDArray[np.float64]
Unit = Literal["bank", "bank_group", "buffer"]


@dataclass(frozen=True)
class PimTiming:
    """One stack's organisation and timing in command-clock cycles."""

    clock_s: float  # tCK
    channels: int
    pseudo_channels: int  # per channel
    ranks: int
    bank_groups: int
    banks: int  # per bank group
    column_bytes: int  # what one MAC command reads of a bank
    row_columns: int
    mac_spacing: int  # between MAC commands, set by tCCD_L
    limited_spacing: int  # the same inside the stack's power budget
    burst: int  # data-bus cycles of one column: spacing of reads to the buffer die
    t_rtp: int
    t_rp: int
    t_rcd: int
    t_rfc: int
    t_refi: int
    source: str = field(repr=False)  # a label: not part of any price

    @property
    def token_units(self) -> int:
        """How many tokens' rows are worked at once in a channel."""
        return self.pseudo_channels * self.ranks * self.bank_groups

    @property
    def refresh_share(self) -> float:
        return self.t_rfc / self.t_refi


_HBM3 = PimTiming(
    clock_s=0.769e-9, channels=16, pseudo_channels=2, ranks=2, bank_groups=4, banks=4, column_bytes=32, row_columns=32,
    mac_spacing=4, limited_spacing=6, burst=2, t_rtp=8, t_rp=19, t_rcd=19, t_rfc=456, t_refi=5070,
    source="AttAcc HBM3-PIM.cpp:36-47,309-335 (HBM3 5.2 Gb/s, 8 Gb, 2 ranks; nCCDAB 4, 6 inside the power budget)")


def _scaled(base: PimTiming, clock_s: float, source: str, ranks: int) -> PimTiming:
    """The same nanoseconds at another clock, rounded up to whole cycles; spacings in cycles stay."""
    def cycles(count: int) -> int:
        return int(np.ceil(count * base.clock_s / clock_s - 1e-9))
    return replace(base, clock_s=clock_s, ranks=ranks, source=source, t_rtp=cycles(base.t_rtp),
                   t_rp=cycles(base.t_rp), t_rcd=cycles(base.t_rcd), t_rfc=cycles(base.t_rfc),
                   t_refi=cycles(base.t_refi))


_HBM2 = PimTiming(
    clock_s=1e-9, channels=8, pseudo_channels=2, ranks=1, bank_groups=4, banks=4, column_bytes=32, row_columns=32,
    mac_spacing=2, limited_spacing=3, burst=2, t_rtp=6, t_rp=14, t_rcd=14, t_rfc=260, t_refi=3900,
    source="DRAMsim3 HBM2_8Gb_x128.ini (1 GHz: tCCD_L 2, tRTP_L 6, tRP 14, tRCD 14, tRFC 260, tREFI 3900); "
           "power-limited spacing in AttAcc's ratio 6:4")

TIMINGS: dict[str, PimTiming] = {
    "HBM2": _HBM2,
    "HBM2E": _scaled(_HBM2, 0.625e-9, "HBM2 nanoseconds at 3.2 Gb/s (tCK 0.625 ns), two ranks (8-high)", 2),
    "HBM3": _HBM3,
    "HBM3E": _scaled(_HBM3, 0.5e-9, "AttAcc's HBM3 nanoseconds at 8 Gb/s (tCK 0.5 ns); HBM3E's are not public", 2),
    "GDDR6": PimTiming(
        clock_s=1e-9, channels=2, pseudo_channels=1, ranks=1, bank_groups=4, banks=4, column_bytes=32, row_columns=64,
        mac_spacing=1, limited_spacing=1, burst=1, t_rtp=6, t_rp=18, t_rcd=18, t_rfc=120, t_refi=1900,
        source="GDDR6-AiM (ISSCC 2022, Hot Chips 2022): 16 banks a channel, one 16-lane unit a bank at 1 GHz, "
               "2 KB rows; row timings GDDR6-class, not checked"),
    "LPDDR5": PimTiming(
        clock_s=1.25e-9, channels=4, pseudo_channels=1, ranks=1, bank_groups=4, banks=2, column_bytes=32, row_columns=64,
        mac_spacing=2, limited_spacing=2, burst=2, t_rtp=6, t_rp=17, t_rcd=15, t_rfc=224, t_refi=3120,
        source="Samsung LPDDR5-PIM (Hot Chips 2023, not checked): one 16-lane unit for two banks, 102.4 GB/s inside an x16 "
               "channel; JESD209-5 class at 6.4 Gb/s: tCCD 2.5 ns, tRTP 7.5 ns, tRPab 21 ns, tRCD 18 ns, tRFCab 280 ns"),
}


def timing(kind: str, key: str = "hardware.pim.kind") -> PimTiming:
    """The preset of a memory kind. Raises InputError (naming `key`) for kinds without a published PIM part or timing."""
    found = TIMINGS.get(kind)
    if found is None:
        raise InputError(f"no PIM timing is known for {kind}; use one of: {', '.join(TIMINGS)}",
                         key=key)
    return found


def host_share(part: PimTiming, *, power_limited: bool) -> float:
    """Share of a channel's bandwidth left to the host while bank units multiply: a MAC command takes a slot of the
    column-command bus (one a cycle), of which a full read stream needs one per pseudo-channel and burst."""
    spacing = part.limited_spacing if power_limited else part.mac_spacing
    return min(1.0, (1 - 1 / spacing) * part.burst / part.pseudo_channels)


def mac_bytes_per_s(part: PimTiming, unit: Unit, *, power_limited: bool) -> float:
    """Bytes per second that the units of one channel multiply, commands back to back (a column each per command)."""
    spacing = part.burst if unit == "buffer" else part.limited_spacing if power_limited else part.mac_spacing
    units = {"bank": part.token_units * part.banks, "bank_group": part.token_units, "buffer": part.pseudo_channels}[unit]
    return units * part.column_bytes / (spacing * part.clock_s)


def mac_commands(part: PimTiming, unit: Unit, context: Float64, head_dim: int, element_bytes: float) -> Float64:
    """MAC commands of one GEMV (score, or context) of one query head over `context` tokens in one channel.

    A `bank` unit sees one column per command; a `bank_group` unit shares its banks' column path; a `buffer` unit on the
    base die shares a pseudo-channel's bus.
    """
    lanes = int(part.column_bytes / element_bytes)
    if unit == "bank":
        return np.ceil(context / part.token_units) * -(-head_dim // (part.banks * lanes))
    units = part.token_units if unit == "bank_group" else part.pseudo_channels
    return np.ceil(context / units) * -(-head_dim // lanes)


def attention_cycles(part: PimTiming, unit: Unit, *, power_limited: bool, heads: Float64, context: Float64,
                     head_dim: int, element_bytes: float, group: int = 1) -> Float64:
    """Cycles in which a stack attends for `heads` KV heads (over all requests) of `context` tokens each; shape of both.

    Heads are dealt over the channels, one at a time in each; every one of the `group` query heads of a KV head repeats
    the MAC commands on the open rows. Refresh stops all banks for tRFC every tREFI.
    """
    spacing = part.limited_spacing if power_limited else part.mac_spacing
    mac = mac_commands(part, unit, context, head_dim, element_bytes)
    if unit == "bank":
        rows = 2 * np.ceil(mac / part.row_columns)
        head = 2 * mac * spacing * group + rows * (part.t_rtp + part.t_rp + part.t_rcd - spacing)
    else:  # the banks' row switches hide behind one another
        head = 2 * mac * group * (spacing if unit == "bank_group" else part.burst)
    return with_refresh(part, np.ceil(heads / part.channels) * head)


def with_refresh(part: PimTiming, work: Float64) -> Float64:
    """Smallest fixpoint of cycles = work + tRFC floor(cycles / tREFI): least r with work + r tRFC < (r + 1) tREFI."""
    refreshes = np.floor((work - part.t_refi) / (part.t_refi - part.t_rfc)) + 1
    return work + part.t_rfc * np.maximum(refreshes, 0.0)


def head_line(part: PimTiming, unit: Unit, *, power_limited: bool, head_dim: int, element_bytes: float,
              group: int) -> tuple[float, float]:
    """(cycles per head, cycles per token of its context) with refresh: the straight line through the mean of the
    staircase of `attention_cycles`, for contexts that differ between requests."""
    spacing = part.limited_spacing if power_limited else part.mac_spacing
    lanes = int(part.column_bytes / element_bytes)
    units = part.pseudo_channels if unit == "buffer" else part.token_units
    width = -(-head_dim // (part.banks * lanes if unit == "bank" else lanes))  # commands per group of tokens
    token_mac, head_mac = width / units, width * (units - 1) / (2 * units)
    if unit == "bank":
        per_mac = 2 * spacing * group + 2 * (part.t_rtp + part.t_rp + part.t_rcd - spacing) / part.row_columns
        partial_row = max(0.0, (part.row_columns - width) / (2 * part.row_columns))
        head = head_mac * per_mac + 2 * partial_row * (part.t_rtp + part.t_rp + part.t_rcd - spacing)
    else:
        per_mac = 2.0 * group * (spacing if unit == "bank_group" else part.burst)
        head = head_mac * per_mac
    stretch = 1 / (1 - part.refresh_share)
    return head * stretch, token_mac * per_mac * stretch
