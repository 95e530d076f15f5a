"""The loader of device models that other packages provide, by name in a hardware record.

An entry point of the group `llm_serving_sweeper.devices` names a callable `factory(hardware, **options) -> Device`: a
class or a function. The device implements the two methods of `simulator.devices.device.Device` for Gemm, Vector,
PrefillAttention and DecodeAttention; collectives stay with the hardware's `link`. It may further have

    grid = "coarse"          priced at few shapes and interpolated (`simulator.pricing.coarse`): for slow simulators
    attention_launch_s       the part of both attention prices that a step pays once per layer (default 0)

`fingerprint()` is part of every cache key and must change with whatever changes a price: options, and the version of
the code or binary behind it.
"""

from __future__ import annotations

from simulator.design.records.hardware import Hardware
from simulator.devices.device import Device
from simulator.inputs import plugins
from simulator.inputs.errors import InputError


def plugin_device(hardware: Hardware) -> Device:
    """The device that `hardware.device` names. Raises InputError where the package refuses its options or is no device."""
    wanted = hardware.device
    assert wanted is not None
    try:
        factory = plugins.find(wanted.plugin).load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"plug-in '{wanted.plugin}' cannot be loaded: {error}", key="hardware.device.plugin") from error
    try:
        device = factory(hardware, **dict(wanted.options))
    except (TypeError, ValueError) as error:
        raise InputError(f"plug-in '{wanted.plugin}' refuses its options: {error}", key="hardware.device.options") from error
    for method in ("price", "fingerprint"):
        if not callable(getattr(device, method, None)):
            raise InputError(f"plug-in '{wanted.plugin}' makes a {type(device).__name__} without {method}()",
                             key="hardware.device.plugin")
    made: Device = device
    return made
