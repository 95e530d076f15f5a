"""The port behind a design's largest bound, in words: which number to change, and which one buys nothing."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.design.records.compute import Npu
from simulator.design.records.hardware import Hardware
from simulator.devices import dram
from simulator.devices.device import Bound

STATIONARY_BYTES = 2  # of one operand that a processing element loads: 16 bits, or two of 8 (devices.npu, macs_8bit)


def fill_bytes_per_s(npu: Npu) -> float:
    """Bytes a second at which all arrays of an NPU take in the operand that stays: a row of each in a cycle."""
    return npu.arrays * npu.array[1] * STATIONARY_BYTES * npu.clock_hz


def binding_port(hardware: Hardware, bound_s: Mapping[str, float]) -> str:
    """What binds most of the busy time, with its figures; '' where the bound's name says all. bound_s: seconds by bound."""
    most = max(bound_s, key=lambda name: bound_s[name], default="")
    if most != Bound.ARRAY_FILL.label or hardware.npu is None:
        return ""
    npu = hardware.npu
    fill, read = fill_bytes_per_s(npu), dram.bandwidth_bytes_per_s(hardware.memory)
    port = (f"array fill: {npu.arrays} arrays of {npu.array[0]} x {npu.array[1]} load weights at {fill / 1e12:.3g} TB/s, "
            f"memory gives {read / 1e12:.3g}")
    if fill <= read:
        return f"{port}: more memory bandwidth buys nothing, more or wider arrays or a faster clock do"
    return f"{port}: short rows and ragged edges leave the port idle; fewer, fuller tiles or more rows a step do more"
