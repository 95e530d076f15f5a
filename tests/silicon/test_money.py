"""Yield, price of a die, cost of making, and money on one basis."""

import math

import pytest

from simulator.design.load import load_costs, load_hardware
from simulator.design.records.money import Node
from simulator.inputs.errors import InputError
from simulator.silicon.die_cost import die_usd, die_yield, dies_per_wafer
from simulator.silicon.money import bill, cost_per_hour_usd, made, same_basis
from tests.devices.builders import costs, shipped
from tests.shared import shared_rows


def on(basis, **changes):
    return load_costs("default").model_copy(update={"cost_basis": basis, **changes})


def test_wafer_and_yield_give_the_table_of_die_prices():
    """The composed table has ttm-cas' wafers and early-life defects, nothing repairable."""
    nodes = {"7nm": Node(wafer="9346 USD", defects_per_mm2=0.0015), "5nm": Node(wafer="16988 USD", defects_per_mm2=0.002)}
    rows = [r for r in shared_rows("data/hardware/llmcompass_area_cost.csv") if r["die_cost_usd"]]
    assert len(rows) > 30
    for row in rows:
        node, mm2 = nodes[row["node"]], float(row["total_mm2"])
        assert dies_per_wafer(mm2) == pytest.approx(float(row["dies_per_wafer"]), rel=1e-3)
        assert die_yield(mm2, node.defects_per_mm2) == pytest.approx(float(row["yield_a3"]), rel=1e-3)
        assert die_usd(mm2, node) == pytest.approx(float(row["die_cost_usd"]), rel=1e-3)


def test_a_wafer_scale_die_costs_its_wafer_over_its_yield_and_a_larger_one_cannot_be_made():
    node = costs().nodes.n7
    assert die_usd(46_225.0, node, repairable=0.99) == pytest.approx(9750 * (1 + 462.25 * 0.0008 / 3) ** 3)
    assert die_usd(90_000.0, node) == math.inf


def test_an_h100_is_made_of_its_parts():
    h100 = shipped("h100-sxm")
    found = made(h100, costs())
    die = 17_500 / ((math.pi * 150**2 / 814 - math.pi * 300 / math.sqrt(2 * 814)) * (1 + 0.4 * 814 * 0.0008 / 3) ** -3)
    assert found.dies_usd == pytest.approx(die)
    assert found.memory_usd == pytest.approx(79.18 * 15)
    assert found.package_usd == pytest.approx(150 + 0.38 * (814 + 5 * 110))
    assert found.cost_usd == pytest.approx(1.32 * (die + 79.18 * 15 + 150 + 0.38 * 1364))
    assert found.nre_usd == pytest.approx(220e6 / 300_000)


def test_every_device_of_a_bill_of_materials_has_the_same_margin():
    for name in ("h100-sxm", "npu-base"):
        found = made(shipped(name), costs())
        assert bill(shipped(name), on("owned_bom")).device_usd == pytest.approx(found.cost_usd * 1.5 + found.nre_usd)


def test_list_prices_stand_and_what_has_none_is_a_challengers():
    assert bill(shipped("h100-sxm"), costs()).device_usd == 27_500
    assert not bill(shipped("h100-sxm"), costs()).estimated
    found = bill(shipped("npu-base"), costs())
    parts = made(shipped("npu-base"), costs())
    assert found.estimated
    assert found.device_usd == pytest.approx(parts.cost_usd * 2.8 + parts.nre_usd)
    assert bill(load_hardware("npu-base", {"npu.price": "9000 USD"}), costs()).device_usd == 9000


def test_rent_is_all_there_is_to_pay_and_a_design_may_say_its_own():
    found = bill(shipped("h100-sxm"), on("rental"))
    assert cost_per_hour_usd(found, 8, 5000.0, on("rental")) == pytest.approx(8 * 2.35)
    assert found.capital_usd == 0
    assert bill(load_hardware("h100-sxm", {"rental": "1.9 USD/h"}), on("rental")).rent_usd_per_hour == 1.9
    assert bill(shipped("h100-sxm"), on("rental", provider="hyperscaler")).rent_usd_per_hour == 5


def test_a_basis_that_the_hardware_cannot_fill_is_refused_by_name():
    with pytest.raises(InputError, match=r"no rent of 'npu-base'.*hardware\.rental"):
        bill(shipped("npu-base"), on("rental"))
    h100 = shipped("h100-sxm")
    unknown = h100.model_copy(update={"gpu": h100.gpu.model_copy(update={"process_nm": None})})
    with pytest.raises(InputError, match="process_nm"):
        bill(unknown, on("owned_bom"))
    with pytest.raises(InputError, match="rental and owned_list"):
        same_basis(on("rental"), costs())


def test_an_owned_hour_is_capital_floor_space_and_power():
    """H100: 27,500 + 8,000 + 3,500 USD over four years 1.11, 0.95 kW at 150 USD a month 0.195, 1 kW at 0.1 USD/kWh 0.10."""
    found = bill(shipped("h100-sxm"), costs())
    hour = cost_per_hour_usd(found, 1, 1000.0, costs())
    assert hour == pytest.approx(39_000 / 35_064 + 0.95 * 150 * 12 / 8766 + 1.25 * 0.08)
    assert hour < 1.7  # the lowest rents are above it, as they should be


def test_pim_adds_its_stacks_to_the_bill():
    plain, pim = (bill(shipped(name), costs()) for name in ("npu-base", "npu-pim"))
    assert plain.pim_usd == 0
    assert pim.pim_usd == pytest.approx(4 * 16 * 15 * 1.5 * 1.32 * 2.8)  # GB at HBM3's price x premium, loss and margin
