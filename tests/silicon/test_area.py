"""Die area, yield and price against LLMCompass' model, annotated die photographs and the composed cost table."""

import pytest

from simulator.inputs.errors import InputError
from simulator.silicon import area
from simulator.silicon.die_cost import die_usd, die_yield, dies_per_wafer
from simulator.silicon.money import bill, cost_per_hour_usd
from tests.devices.builders import costs, shipped
from tests.shared import shared_rows


def ga100():
    """NVIDIA GA100 as LLMCompass describes it: 128 SMs, 48 MB L2, 6 HBM2E stacks, 12 NVLink3."""
    core = area.simt_core_mm2(7, sublanes=4, lanes=32, int32=16, fp16=0, fp32=16, fp64=8, array=16, registers=16384,
                              register_files=1, sram_bytes=192 * 1024)
    return core, (128 * core + area.logic_mm2(128 * area.CROSSBAR_TR, 7) + area.sram_mm2(48 * 2**20, 7)
                  + area.memory_io_mm2("HBM2E", 6, 7)
                  + 12 * (area.NVLINK3_PHY_MM2 + area.logic_mm2(area.NVLINK3_CONTROLLER_TR, 7)))


def test_ga100_is_within_five_percent_of_the_die():
    rows = {r["component"]: r for r in shared_rows("data/hardware/llmcompass_die_area_validation.csv")}
    core, die = ga100()
    assert die == pytest.approx(float(rows["TOTAL"]["A100_measured_mm2"]), rel=0.05)
    assert die == pytest.approx(float(rows["TOTAL"]["A100_model_mm2"]), rel=1e-3)  # and the model is LLMCompass'
    assert core == pytest.approx(float(rows["one_core"]["A100_model_mm2"]), rel=1e-3)


def test_wafer_and_yield_give_the_table_of_die_prices():
    rows = [r for r in shared_rows("data/hardware/llmcompass_area_cost.csv") if r["die_cost_usd"]]
    assert len(rows) > 30
    for row in rows:
        node = costs().nodes.of(int(row["node"].removesuffix("nm")))
        mm2 = float(row["total_mm2"])
        assert dies_per_wafer(mm2) == pytest.approx(float(row["dies_per_wafer"]), rel=1e-3)
        assert die_yield(mm2, node.defects_per_mm2) == pytest.approx(float(row["yield_a3"]), rel=1e-3)
        assert die_usd(mm2, node) == pytest.approx(float(row["die_cost_usd"]), rel=1e-3)


@pytest.mark.parametrize("knob", [{"arrays": 16}, {"vector_lanes": 16384}, {"sram_bytes": 2.0**28},
                                  {"array": (256, 256)}])
def test_more_of_anything_is_larger_and_dearer(knob):
    base = shipped("npu-base")
    more = base.model_copy(update={"npu": base.npu.model_copy(update=knob)})
    one, two = (bill(h, costs()) for h in (base, more))
    assert two.area_mm2 > one.area_mm2
    assert two.device_usd > one.device_usd
    assert two.static_w > one.static_w


def test_a_die_that_no_wafer_takes_costs_infinitely():
    assert die_usd(90_000.0, costs().nodes.n7) == float("inf")


def test_pim_adds_its_stacks_to_the_bill():
    plain, pim = (bill(shipped(name), costs()) for name in ("npu-base", "npu-pim"))
    gigabytes = 4 * 16 * 2**30 / 1e9
    assert plain.pim_usd == 0
    assert pim.pim_usd == pytest.approx(gigabytes * 12 * 1.5 * 2.5)  # HBM3 price x PIM premium x markup


def test_listed_gpu_prices_stand():
    assert bill(shipped("h100-sxm"), costs()).device_usd == 27_500


def test_a_gpu_without_price_is_priced_by_its_die_or_refused():
    h100 = shipped("h100-sxm")
    made = h100.model_copy(update={"gpu": h100.gpu.model_copy(update={"price_usd": None, "process_nm": 5})})
    expected = (die_usd(814, costs().nodes.n5) + 79.18 * 2**30 / 1e9 * 12 + 300 + 5 * 60) * 2.5
    assert bill(made, costs()).device_usd == pytest.approx(expected)
    unknown = h100.model_copy(update={"gpu": h100.gpu.model_copy(update={"price_usd": None})})
    with pytest.raises(InputError, match="price"):
        bill(unknown, costs())


def test_cost_per_hour_is_capital_over_life_plus_power():
    found = bill(shipped("h100-sxm"), costs())
    assert cost_per_hour_usd(found, 8, 0.0, costs()) == pytest.approx(8 * (27_500 + 6_000) / (4 * 8766))
    assert cost_per_hour_usd(found, 0, 1000.0, costs()) == pytest.approx(1.25 * 0.08)
