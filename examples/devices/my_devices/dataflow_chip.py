"""A device in forty lines: a chip that keeps all weights on chip and streams activations past them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.design.records.hardware import Hardware
from simulator.devices import dram
from simulator.devices.compose import fingerprint_of, priced
from simulator.devices.device import Bound, Priced
from simulator.devices.roofline import work
from simulator.model.operators import Gemm, Operator

PICOJOULE = 1e-12


@dataclass(frozen=True)
class Chip:
    """What prices depend on: all of it is in the fingerprint, so that no price is found for another chip."""

    flops_per_s: float
    bandwidth_bytes_per_s: float
    fill_s: float  # an operator's pipeline, filled once
    pj_per_flop: float
    attention_launch_s: float

    def fingerprint(self) -> str:
        return fingerprint_of("dataflow-chip", 1, self)  # count up the 1 when a formula changes

    def price(self, operator: Operator, *axes: np.ndarray) -> Priced:
        shapes = np.broadcast_arrays(*(np.asarray(axis, dtype=np.float64) for axis in axes))
        done = work(operator, *shapes)
        moved = done.least_bytes
        if isinstance(operator, Gemm):  # weights stay on chip: only activations move
            moved = moved - operator.n * operator.k * operator.weight_bits / 8
        rate = self.flops_per_s * (2 if done.bits <= 8 else 1)
        parts = [(Bound.COMPUTE, done.flops / rate), (Bound.MEMORY, moved / self.bandwidth_bytes_per_s)]
        return priced(self.fill_s, parts, done.flops * (self.pj_per_flop * PICOJOULE))


def dataflow_chip(hardware: Hardware, *, fill_us: float = 1.0, pj_per_flop: float = 0.5) -> Chip:
    """The entry point: the hardware's own record, and the options of its YAML."""
    assert hardware.device is not None
    return Chip(hardware.device.peak_bf16, dram.bandwidth_bytes_per_s(hardware.memory), fill_us * 1e-6, pj_per_flop,
                attention_launch_s=fill_us * 1e-6)
