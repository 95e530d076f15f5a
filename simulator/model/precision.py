"""What a device makes of a checkpoint's formats: a format it has no unit for is stored as it is and multiplied in another."""

from __future__ import annotations

from simulator.design.records.hardware import Hardware
from simulator.design.records.model import BITS, Dtype, PartName, PartPrecision, Precision

_PARTS: tuple[PartName, ...] = ("attention", "attention_output", "mlp", "experts", "shared_experts", "head")


def on(precision: Precision, hardware: Hardware) -> Precision:
    """`precision` as `hardware` runs it. A GPU without units for the activations' format multiplies in 16 bits: weights keep
    their bytes and are widened on the way (vLLM's Marlin kernels). NPUs and plug-ins have one rate for each width; what is
    narrower than their narrowest is widened on the way in.
    """
    gpu = hardware.gpu
    if gpu is None:
        return precision
    units = {"fp8": gpu.peak_fp8, "fp8_block": gpu.peak_fp8, "int8": gpu.peak_int8, "nvfp4": gpu.peak_fp4, "mxfp4": gpu.peak_fp4}

    def run(activations: Dtype) -> Dtype:
        if BITS[activations] == 16 or units.get(activations) is not None:
            return activations
        if activations in units:
            return "bf16"
        return activations

    changed: dict[str, object] = {}
    if (now := run(precision.activations)) != precision.activations:
        changed["activations"] = now
    for name in _PARTS:
        own: PartPrecision | None = getattr(precision, name)
        if own is not None and (now := run(own.activations)) != own.activations:
            changed[name] = own.model_copy(update={"activations": now})
    return precision.model_copy(update=changed) if changed else precision

