"""How fast operators are priced: CPU seconds for a million shapes, microseconds for the grids of one design.

    python scripts/bench_hardware.py [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, json_option, measured
from simulator.design.load import CONFIGS
from simulator.design.records.hardware import Hardware
from simulator.design.records.serving import Parallelism
from simulator.devices.build import Devices, build
from simulator.devices.device import Device
from simulator.inputs.yaml_file import load_yaml
from simulator.model.operators import Collective, DecodeAttention, Gemm, Operator, PrefillAttention

OPERATORS: dict[str, Operator] = {
    "gemm": Gemm(4096, 4096, 16, 16), "decode_attention": DecodeAttention(32, 8, 128, 16, 16),
    "prefill_attention": PrefillAttention(32, 8, 128, 16, 16), "all_reduce": Collective("all_reduce", 4, 8192.0)}
MILLION = 1_000_000
Float64 = NDArray[np.float64]


def devices(name: str) -> Devices:
    return build(Hardware.model_validate(load_yaml(CONFIGS / "hardware" / f"{name}.yaml")), Parallelism(tensor=4))


def cpu_seconds(device: Device, operator: Operator, axes: tuple[Float64, ...], repeats: int) -> float:
    """The least CPU time of `repeats` pricings."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        device.price(operator, *axes)
        times.append(time.process_time() - start)
    return min(times)


def device_of(found: Devices, kind: str) -> Device:
    return {"gemm": found.compute, "decode_attention": found.decode, "prefill_attention": found.prefill,
            "all_reduce": found.link}[kind]


def measure() -> list[Row]:
    random = np.random.default_rng(0)
    rows: list[Row] = []

    def row(name: str, value: float, unit: str, limit: float) -> None:
        rows.append(measured(name, value, unit, f"< {limit:g} {unit}", value < limit, digits=3))

    for hardware in ("npu-pim", "h100-sxm"):
        found = devices(hardware)
        for kind, operator in OPERATORS.items():
            device = device_of(found, kind)
            first, second = random.integers(1, 8192, MILLION) * 1.0, random.integers(0, 32768, MILLION) * 1.0
            axes = (first, second) if "attention" in kind else (first,)
            row(f"{hardware}/{kind}_million", cpu_seconds(device, operator, axes, 3), "s", 1.0)
        rows_400 = (np.arange(1.0, 401.0),)
        row(f"{hardware}/gemm_400", cpu_seconds(found.compute, OPERATORS["gemm"], rows_400, 200) * 1e6, "us", 100.0)
        batches = (np.arange(1.0, 101.0)[:, None], np.linspace(0.0, 32768.0, 40)[None, :])
        decode_s = cpu_seconds(found.decode, OPERATORS["decode_attention"], batches, 200)
        row(f"{hardware}/decode_4000", decode_s * 1e6, "us", 1000.0)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    json_option(parser)
    args = parser.parse_args()
    return finish(measure(), args.json)


if __name__ == "__main__":
    sys.exit(main())
