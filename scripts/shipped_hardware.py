"""Shipped hardware as records and devices, for the validation scripts."""

from __future__ import annotations

from typing import Any

from simulator.design import CONFIGS
from simulator.hardware.build import build
from simulator.inputs.yaml_file import load_yaml
from simulator.schema.hardware import Hardware
from simulator.schema.serving import Parallelism


def preset(name: str) -> Hardware:
    """The entry `name` of configs/hardware. Raises InputError where there is none."""
    return Hardware.model_validate(load_yaml(CONFIGS / "hardware" / f"{name}.yaml"))


def device(name: str) -> Any:
    """What computes in it: an NpuDevice or a GpuDevice."""
    return build(preset(name), Parallelism()).compute
