"""Bounds that say why: loading weights into arrays is told from computing with them, and from reading them."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.analysis.ports import binding_port, fill_bytes_per_s
from simulator.design.load import load_hardware
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.device import Bound
from simulator.devices.systolic import filling
from simulator.model.operators import DecodeAttention, Gemm


def bounds_of(hardware: str, operator: object, *axes: list[float], **changes: object) -> list[str]:
    device = build(load_hardware(hardware, changes), Parallelism()).compute
    return [Bound(int(bound)).label for bound in device.price(operator, *(np.array(axis) for axis in axes)).bound]


def test_a_tile_of_weights_loads_in_as_many_cycles_as_it_has_rows():
    """128 x 128, pipelined: 64 rows stream in 64 cycles while the next tile takes 128 to load; with 129 rows streaming rules."""
    fills = filling(np.array([1.0, 64, 128, 129, 4096]), 1024, 1024, 128, 128, "weight_stationary", pipelined=True)
    assert fills.tolist() == [True, True, False, False, False]
    assert not filling(np.array([1.0]), 1024, 1024, 128, 128, "output_stationary", pipelined=True).any()


def test_decode_of_70b_on_eight_ranks_is_bound_by_the_array_load_port():
    """gate_up on one of 8 ranks: 8,192 x 7,168 weights, 448 folds an array of 128 cycles = 57 us; 117 MB at 2.3 TB/s = 51 us."""
    gate_up = Gemm(n=7168, k=8192, weight_bits=16, activation_bits=16)
    assert bounds_of("npu-base", gate_up, [8.0, 4096.0]) == ["array fill", "compute"]
    # with twice the arrays memory is the slower port
    assert bounds_of("npu-base", gate_up, [8.0], **{"npu.arrays": 16}) == ["memory"]


def test_decode_attention_on_the_lanes_is_bound_by_them_or_by_memory():
    attention = DecodeAttention(heads=32, kv_heads=32, head_dim=128, kv_bits=16, activation_bits=16)
    assert set(bounds_of("npu-base", attention, [64.0], [4096.0], **{"npu.vector_lanes": 256})) <= {"vector", "array fill"}
    assert bounds_of("npu-base", attention, [64.0], [4096.0]) == ["memory"]


def test_the_port_is_named_with_its_rate():
    """8 arrays x 128 columns x 2 B x 1 GHz = 2.05 TB/s."""
    hardware = load_hardware("npu-base", {})
    assert fill_bytes_per_s(hardware.npu) == pytest.approx(2.048e12)
    said = binding_port(hardware, {"array fill": 3.0, "memory": 1.0})
    assert "load weights at 2.05 TB/s, memory gives 2.3: more memory bandwidth buys nothing" in said
    faster = load_hardware("npu-base", {"npu.arrays": 16})
    assert "ragged edges" in binding_port(faster, {"array fill": 3.0})
    assert binding_port(hardware, {"memory": 3.0, "array fill": 1.0}) == ""
    assert binding_port(load_hardware("h100-sxm", {}), {"memory": 3.0}) == ""
