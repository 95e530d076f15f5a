"""What facts do not settle is a range with a default, and can be swept."""

from pathlib import Path

import pytest

from simulator.design.load import load_hardware
from simulator.design.records.silicon import Silicon
from simulator.inputs.errors import InputError
from simulator.silicon.area import npu_area
from simulator.silicon.money import bill
from sweeper.space.space import Space
from tests.devices.builders import costs
from tests.sweeper.spaces import space_of

KNOBS = """  mac: {sets: [hardware.silicon.mac_um2], float: {low: 450, high: 1530}}
  mac_energy: {sets: [hardware.silicon.mac_pj], ordinal: [0.59, 1.7, 2.6]}
  sram: {sets: [hardware.silicon.sram_efficiency], ordinal: [0.26, 0.47, 0.7]}
  spares: {sets: [hardware.silicon.repairable], ordinal: [0, 0.6, 0.99]}"""


@pytest.mark.parametrize("name", ["mac_um2", "sram_efficiency", "overhead", "uncore_mm2", "mac_pj", "repairable"])
def test_each_constant_has_a_default_inside_its_range(name: str) -> None:
    field = Silicon.model_fields[name]
    low, high = (next(getattr(m, side) for m in field.metadata if hasattr(m, side)) for side in ("ge", "le"))
    assert low < field.default < high
    for outside in (low - 0.01, high + 0.01):
        with pytest.raises(InputError, match=name):
            load_hardware("npu-base", {f"silicon.{name}": outside})


def test_a_sweep_over_them_moves_area_power_and_price(tmp_path: Path) -> None:
    space = space_of(tmp_path, KNOBS)

    def at(space: Space, mac: float, energy: float, sram: float, spares: float) -> tuple[float, float, float]:
        hardware = space.design({"mac": mac, "mac_energy": energy, "sram": sram, "spares": spares}).hardware
        paid = bill(hardware, costs())
        return npu_area(hardware).total, paid.peak_w, paid.device_usd

    base = at(space, 670, 1.7, 0.47, 0.6)
    # 131,072 MACs of 430 um2 more with 55 % overhead are 87 mm2, and a little more uncore
    assert at(space, 1100, 1.7, 0.47, 0.6)[0] - base[0] == pytest.approx(131072 * 430e-6 * 1.55, rel=0.08)
    assert at(space, 670, 2.6, 0.47, 0.6)[1] - base[1] == pytest.approx(0.9 * 2 * 131072e9 * 0.9 / 2 * 1e-12, rel=1e-6)
    assert at(space, 670, 1.7, 0.26, 0.6)[0] > base[0] > at(space, 670, 1.7, 0.7, 0.6)[0]
    assert at(space, 670, 1.7, 0.47, 0)[2] > base[2] > at(space, 670, 1.7, 0.47, 0.99)[2]
