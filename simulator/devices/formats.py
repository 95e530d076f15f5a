"""Number formats that a device has units for."""

from __future__ import annotations

from simulator.design.records.hardware import Hardware
from simulator.design.records.model import Precision

# Rate of a format in a GPU's record. Other devices have one 8-bit rate.
_UNITS = {"fp8": "peak_fp8", "int8": "peak_int8"}


def as_run(precision: Precision, hardware: Hardware) -> Precision:
    """`precision` as the device computes it: where a GPU has no unit for the activations' format, weights stay as stored
    and are widened on the way to 16-bit products (weight-only), as kernels do on such GPUs (vLLM's Marlin)."""
    unit = _UNITS.get(precision.activations)
    if hardware.gpu is None or unit is None or getattr(hardware.gpu, unit) is not None:
        return precision
    return precision.model_copy(update={"activations": "bf16"})
