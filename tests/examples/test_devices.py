"""The example devices, installed as a package would be: found by name, swept, cached, and refused in one line."""

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from simulator.__main__ import main
from simulator.design.load import CONFIGS, load_design, load_hardware
from simulator.design.records.serving import Parallelism
from simulator.design_key import design_key
from simulator.devices.build import build
from simulator.devices.device import Bound
from simulator.devices.roofline import work
from simulator.inputs.errors import InputError
from simulator.model.layers import operators
from simulator.model.operators import Gemm
from simulator.pricing import grids
from simulator.pricing.cache import CostCache, load, save
from simulator.pricing.price import price
from simulator.simulate import simulate

EXAMPLES = CONFIGS.parent / "examples" / "devices"
CHIP = str(EXAMPLES / "dataflow-chip.yaml")

# Stands for a cycle-level simulator: notes every call, takes its time, prints a roofline.
PROGRAM = """
import sys, time
time.sleep(0.002)
open({calls!r}, "a").write("x")
flops, moved, bits = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
print(2e-6 + max(flops / 2e14, moved / 2e12), 0.4e-12 * flops)
"""


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """The example package on the path with the metadata that installing it writes."""
    info = tmp_path / "site" / "my_devices-1.0.dist-info"
    info.mkdir(parents=True)
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {target}" for name, target in project["entry-points"]["llm_serving_sweeper.devices"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[llm_serving_sweeper.devices]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for name in [n for n in sys.modules if n.startswith("my_devices")]:
        del sys.modules[name]


def test_a_devices_own_formula_prices_its_operators():
    """Weights stay on chip: 2 x 4096 x 4096 FLOP a row at 400 TFLOP/s, 2 us to fill."""
    chip = build(load_hardware(CHIP, {}), Parallelism()).compute
    found = chip.price(Gemm(4096, 4096, 16, 16), np.array([4096.0]))
    assert found.seconds[0] == pytest.approx(2e-6 + 2 * 4096**3 / 400e12)
    assert Bound(found.bound[0]) is Bound.COMPUTE


def test_options_of_the_yaml_reach_the_device_and_the_key():
    base, other = (load_design("h100-chat", {"hardware": CHIP, "workload": "chat-200", **extra})
                   for extra in ({}, {"hardware.device.options.fill_us": 4.0}))
    assert base == load_design("h100-chat", {"hardware": CHIP, "workload": "chat-200"})
    assert design_key(base) != design_key(other)
    assert build(base.hardware, Parallelism()).compute.fingerprint() != build(other.hardware, Parallelism()).compute.fingerprint()
    assert simulate(other).metrics["tpot_p50"] > simulate(base).metrics["tpot_p50"]


def test_the_command_lines_take_such_hardware(capsys):
    assert main(["hardware", CHIP]) == 0
    assert "400.0 TFLOP/s" in capsys.readouterr().out
    assert main(["price", "--hardware", CHIP, "--op", "gemm m=1..64 n=4096 k=4096"]) == 0
    assert "gemm on dataflow-chip" in capsys.readouterr().out


@pytest.mark.parametrize(("change", "says"), [
    ({"device.plugin": "dataflow-chop"}, "did you mean 'dataflow-chip'"),
    ({"device.options.fill": 3}, "refuses its options"),
])
def test_mistakes_are_one_line(change, says, capsys):
    with pytest.raises(InputError, match=says):
        build(load_hardware(CHIP, change), Parallelism())
    assert main(["hardware", CHIP, *(f"--set={k}={v}" for k, v in change.items())]) in (0, 2)
    assert len(capsys.readouterr().err.splitlines()) <= 1


def slow_design(tmp_path, **overrides):
    """A design on an external simulator, and how often that was run."""
    calls, program, hardware = tmp_path / "calls", tmp_path / "program.py", tmp_path / "slow.yaml"
    program.write_text(PROGRAM.format(calls=str(calls)))
    calls.touch()
    described = Path(CHIP).read_text().replace("plugin: dataflow-chip", "plugin: slow-simulator")
    hardware.write_text(described.replace("{fill_us: 2.0}", f'{{command: "{sys.executable} -S {program}"}}'))
    design = load_design("h100-chat", {"hardware": str(hardware), "workload": "chat-200", **overrides})
    return design, lambda: len(calls.read_text())


@pytest.mark.slow
def test_a_slow_simulator_is_asked_once_for_all_designs_and_studies(tmp_path):
    cache = CostCache()
    first, calls = slow_design(tmp_path)
    price(first, cache)
    asked = calls()
    assert 100 < asked < 350
    for change in ({"serving.max_num_seqs": 64}, {"hardware.host.step": "1 ms"}, {"parallelism.replicas": 2}):
        price(slow_design(tmp_path, **change)[0], cache)
    assert calls() == asked
    save(cache.take_new(), tmp_path / "costs.npz")  # what a study leaves behind
    next_study = CostCache(load(tmp_path / "costs.npz"))
    price(first, next_study)
    assert calls() == asked
    assert next_study.take_counters().misses == 0


@pytest.mark.slow
def test_prices_between_the_shapes_of_a_coarse_grid_stay_close(tmp_path):
    """Against the simulator's own formula at every canonical shape: within 20 % where the roofline turns, 3 % on average."""
    design, _ = slow_design(tmp_path)
    cache = CostCache()
    curves = {c.name: c for c in price(design, cache).curves}
    for named in operators(design.model, design.precision, design.parallelism.tensor):
        if named.name not in ("qkv", "down", "prefill_attention", "decode_attention"):
            continue
        axes = {"prefill_attention": (grids.chunk_knots()[:, None], grids.context_knots()[None, :]),
                "decode_attention": (grids.batch_knots(1024)[:, None], grids.context_knots()[None, :])}.get(
                    named.name, (grids.row_knots(1),))
        done = work(named.operator, *axes)
        exact = 2e-6 + np.maximum(done.flops / 2e14, done.least_bytes / 2e12)
        error = curves[named.name].seconds / exact - 1
        assert np.abs(error).max() < 0.20, (named.name, np.abs(error).max())
        assert np.abs(error).mean() < 0.03
