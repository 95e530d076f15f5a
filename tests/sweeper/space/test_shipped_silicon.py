"""No NPU of a shipped space, or that ships as a preset, beats shipped silicon of its node unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.design.load import CONFIGS, load_costs, load_hardware
from simulator.design.records.hardware import Hardware
from simulator.inputs.errors import InputError
from simulator.silicon.limits import notes
from simulator.silicon.money import bill
from sweeper.space.file import SPACES, load_space
from tests.shared import ROOT

# Best 16-bit TFLOP/s per W and per mm2 of what shipped: at 7 nm TPU v4 (275 at 192 W, the highest seen) and Dojo D1 (362 on 645 mm2);
# at 5 nm and below B200 (2,250 at 1,000 W, on 1,600 mm2)
BEST = {7: (275 / 192, 362 / 645), 5: (2.25, 2250 / 1600), 3: (2.25, 2250 / 1600)}
COSTS = load_costs("default")


def unsaid(hardware: Hardware) -> list[str]:
    """Per what the device beats shipped silicon by more than half without a line that says so."""
    npu = hardware.npu
    assert npu is not None
    tera = 2 * npu.arrays * npu.array[0] * npu.array[1] * npu.clock_hz / 1e12
    paid, lines = bill(hardware, COSTS), " ".join(notes(hardware))
    watts = paid.peak_w - COSTS.server_power_w
    return [unit for amount, best, unit in zip((watts, paid.area_mm2), BEST[npu.process_nm], ("W", "mm2"), strict=True)
            if tera / amount > 1.505 * best and f"TFLOP/s per {unit} (16-bit peak) is" not in lines]


def swept(path: Path) -> list[Hardware]:
    """Every NPU of a space, whatever its constraints say of it."""
    space = load_space(path)
    names = {p.name for p in space.parameters if any(key.split(".")[0] == "hardware" for key in p.keys)}
    found = []
    for values in space.combinations(names):
        try:
            hardware = space.design_with(space.overrides(values)).hardware
        except InputError:
            continue
        if hardware.npu is not None:
            found.append(hardware)
    return found


@pytest.mark.parametrize("path", [*sorted(SPACES.glob("*.yaml")), ROOT / "examples/spaces/my_npu.yaml"], ids=lambda path: path.stem)
def test_swept_npus(path: Path) -> None:
    found = swept(path)
    assert found or path.stem.startswith("gpu_")
    assert not [h.name for h in found if unsaid(h)]


def test_presets() -> None:
    npus = [h for h in (load_hardware(path.stem, {}) for path in (CONFIGS / "hardware").glob("*.yaml")) if h.npu is not None]
    assert len(npus) >= 7
    assert not [h.name for h in npus if unsaid(h)]


def test_the_winner_of_old_is_said_to_win_by_its_constants() -> None:
    """2,097 TFLOP/s at 7 nm: shipped dies ask for some 1,540 mm2 and 1,850 W."""
    large = load_hardware("npu-base", {"npu.array": [256, 256], "npu.arrays": 16})
    paid = bill(large, COSTS)
    assert paid.area_mm2 == pytest.approx(1540, rel=0.05)
    assert paid.peak_w - COSTS.server_power_w == pytest.approx(1850, rel=0.05)
    assert "2.4 times the best shipped at 7 nm" in " ".join(notes(large))
