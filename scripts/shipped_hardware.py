"""Shipped hardware as records and devices, for the validation scripts."""

from __future__ import annotations

from typing import Any

from simulator.design.load import CONFIGS
from simulator.design.records.hardware import Hardware
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.inputs.errors import InputError
from simulator.inputs.yaml_file import load_yaml

# aiconfigurator's names of systems
SYSTEMS = {"a100_sxm": "a100-80gb", "h100_sxm": "h100-sxm", "h200_sxm": "h200-sxm", "l40s": "l40s", "b200_sxm": "b200",
           "b300_sxm": "b300"}


def of_system(system: str) -> str:
    """The entry of configs/hardware for one of aiconfigurator's systems. Raises InputError where there is none."""
    if system not in SYSTEMS:
        raise InputError(f"no preset for the system '{system}'; known: {', '.join(SYSTEMS)}")
    return SYSTEMS[system]


def preset(name: str) -> Hardware:
    """The entry `name` of configs/hardware. Raises InputError where there is none."""
    return Hardware.model_validate(load_yaml(CONFIGS / "hardware" / f"{name}.yaml"))


def device(name: str) -> Any:
    """What computes in it: an NpuDevice or a GpuDevice."""
    return build(preset(name), Parallelism()).compute
