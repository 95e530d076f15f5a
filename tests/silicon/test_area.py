"""Die areas of shipped chips and by hand; what more of anything does."""

import pytest

from simulator.design.load import load_hardware
from simulator.design.records.silicon import Silicon
from simulator.silicon.area import MIB, Parts, die_area, npu_area, sram_mm2
from simulator.silicon.limits import notes
from simulator.silicon.money import bill
from tests.devices.builders import costs, shipped


def test_sram_is_bit_cells_over_array_efficiency():
    # 8.389 Mbit x 0.027 um2 / 0.47 = 0.482 mm2 a MiB at 7 nm; Graphcore's 897 MiB are then half of its 823 mm2
    assert sram_mm2(MIB, 7, Silicon()) == pytest.approx(0.482, rel=2e-3)
    assert sram_mm2(897 * MIB, 7, Silicon()) == pytest.approx(432, rel=2e-3)


def test_a_die_by_hand():
    """1,000 MACs, 100 lanes, 1 MiB, one stack, 100 GB/s, no host, 7 nm."""
    found = die_area(Parts(7, macs=1000, lanes=100, sram_bytes=MIB, stacks=1, link_bytes_per_s=100e9, host_lanes=0), Silicon())
    assert found.compute == pytest.approx(1000 * 670e-6 * 1.55)
    assert found.vector == pytest.approx(100 * 3760e-6 * 1.55)
    assert found.memory_io == pytest.approx(15 * 1.55)
    assert found.link_io == pytest.approx(7 * 1.55)
    units = 0.67 + 0.376 + 0.482 + 15 + 7
    assert found.uncore == pytest.approx(150 * (1 - 2.71828 ** (-units / 100)) * 1.55, rel=1e-4)


@pytest.mark.parametrize("knob", [{"arrays": 16}, {"vector_lanes": 16384}, {"sram_bytes": 2.0**28}, {"array": (256, 256)}])
def test_more_of_anything_is_larger_and_costs_more(knob):
    base = shipped("npu-base")
    more = base.model_copy(update={"npu": base.npu.model_copy(update=knob)})
    one, two = (bill(h, costs()) for h in (base, more))
    assert two.area_mm2 > one.area_mm2
    assert two.device_usd > one.device_usd
    assert two.static_w > one.static_w


def test_a_newer_node_is_smaller_and_sram_shrinks_less_than_logic():
    seven, five = (npu_area(load_hardware("npu-base", {"npu.process_nm": nm})) for nm in (7, 5))
    assert five.compute / seven.compute == pytest.approx(91.2 / 137.6)
    assert five.sram / seven.sram == pytest.approx(0.021 / 0.027)
    assert five.memory_io == seven.memory_io


def test_two_dies_have_two_uncores():
    one, two = (npu_area(load_hardware("npu-base", {"npu.dies": n})) for n in (1, 2))
    assert two.compute == one.compute
    assert one.uncore < two.uncore < 2 * one.uncore


def test_memory_of_sram_is_on_the_die_without_phys():
    stacked = load_hardware("npu-base", {})
    changes = {"memory.kind": "SRAM", "memory.stacks": 1, "memory.capacity": "512 MiB", "memory.bandwidth": "80 TB/s"}
    alone = npu_area(load_hardware("npu-base", changes))
    assert alone.memory_io == 0
    assert alone.sram - npu_area(stacked).sram == pytest.approx(512 * 0.482, rel=2e-3)


def test_a_die_above_the_reticle_and_above_shipped_silicon_is_said():
    large = load_hardware("npu-base", {"npu.array": [256, 256], "npu.arrays": 16})
    lines = " ".join(notes(large))
    assert "times the field of a lithography scanner (858 mm2)" in lines
    assert "TFLOP/s per mm2" in lines
    assert "W/mm2 at full matrix load" in lines
    assert notes(shipped("npu-base")) == []
