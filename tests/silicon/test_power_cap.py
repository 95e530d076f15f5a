"""Power caps: what a clock and a MAC spacing must be to stay inside them."""

import itertools

import numpy as np
import pytest

from simulator.design.load import load_design, load_hardware
from simulator.design.records.hardware import Pim
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.pim_timing import TIMINGS
from simulator.inputs.errors import InputError
from simulator.model.operators import DecodeAttention, Gemm
from simulator.prepare import violations
from simulator.silicon.area import area_mm2
from simulator.silicon.money import bill
from simulator.silicon.power import mac_command_j, peak_w, pim_stack_peak_w
from tests.devices.builders import costs


def test_a_capped_package_draws_its_cap_with_every_unit_busy():
    free = load_hardware("npu-base", {"npu.clock": "1.7 GHz"})
    cap = peak_w(free, area_mm2(free)) - 10
    capped = load_hardware("npu-base", {"npu.clock": "1.7 GHz", "power_cap": f"{cap} W"})
    assert bill(capped, costs()).peak_w == pytest.approx(cap + costs().server_power_w)


def test_a_cap_slows_what_exceeds_it_and_leaves_memory_alone():
    h100, half = load_hardware("h100-sxm", {}), load_hardware("h100-sxm", {"power_cap": "550 W"})
    gemm = Gemm(8192, 8192, 16, 16)
    slow, fast = (build(h, Parallelism()).compute.price(gemm, np.array([1.0, 16384.0])) for h in (half, h100))
    assert slow.seconds[0] == fast.seconds[0]
    assert slow.joules[1] / slow.seconds[1] + 121.7 == pytest.approx(550)  # idle and what the product draws
    assert fast.joules[1] / fast.seconds[1] + 121.7 == pytest.approx(700, rel=0.1)  # uncapped: its own limit
    assert slow.seconds[1] > 1.25 * fast.seconds[1]


def test_a_lower_cap_is_never_faster():
    gemm, rows = Gemm(4096, 4096, 16, 16), np.array([1.0, 100.0, 10_000.0])
    times = [build(load_hardware("npu-base", {"npu.clock": "2 GHz", "power_cap": f"{cap} W"}), Parallelism())
             .compute.price(gemm, rows).seconds for cap in (900, 500, 300, 200)]
    for more, less in itertools.pairwise(times):
        assert (less >= more).all()


def test_a_cap_below_leakage_and_memory_is_refused_before_simulating():
    found = violations(load_design("npu-chat", {"hardware.power_cap": "60 W"}))
    assert [v.name for v in found] == ["power_cap"]
    assert found[0].amount > 0
    with pytest.raises(InputError, match="nothing is left"):
        build(load_hardware("npu-base", {"power_cap": "60 W"}), Parallelism())
    with pytest.raises(InputError, match="needs an npu, or a gpu with its power"):
        load_hardware("h100-sxm", {"power_cap": "400 W", "gpu.power": "0 W"})


@pytest.mark.parametrize(("watts", "cycles"), [(100, 4), (40, 5), (33, 6), (16, 13)])
def test_a_stacks_cap_spaces_its_mac_commands(watts, cycles):
    """1,024 banks x 256 bit x (0.55 + 0.02) pJ = 149 nJ a command at 0.769 ns a cycle: AttAcc's 6 cycles are 32.4 W."""
    part = TIMINGS["HBM3"]
    assert mac_command_j(part, "bank") == pytest.approx(149.4e-9, rel=1e-3)
    device = build(load_hardware("npu-pim", {"pim.stack_power": f"{watts} W"}), Parallelism()).decode
    assert device.timing.limited_spacing == device.timing.mac_spacing == cycles
    assert pim_stack_peak_w(Pim(stack_power_w=f"{watts} W"), part) <= watts


def test_less_power_for_pim_is_slower_attention():
    op, batch, context = DecodeAttention(32, 8, 128, 16, 16), np.array([64.0]), np.array([4096.0])
    seconds = [build(load_hardware("npu-pim", {"pim.stack_power": f"{w} W"}), Parallelism()).decode.price(op, batch, context).seconds[0]
               for w in (60, 30, 15)]
    assert seconds == sorted(seconds)
    assert 1.7 < seconds[2] / seconds[1] < 2.1
