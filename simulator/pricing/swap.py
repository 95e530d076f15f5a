"""The time to swap KV blocks of preempted requests to another memory and back."""

from __future__ import annotations

from simulator.design.records.hardware import Hardware, MemoryTier
from simulator.design.records.model import Architecture, Precision
from simulator.design.records.serving import Parallelism, Serving
from simulator.model.memory import kv_bytes_per_token


def tier(hardware: Hardware, serving: Serving) -> MemoryTier | None:
    """Where swapped blocks go; None where nothing is swapped, or the hardware has no such memory."""
    if serving.preemption != "swap":
        return None
    return hardware.host_memory if serving.swap_to == "host" else hardware.cxl


def block_s(arch: Architecture, precision: Precision, hardware: Hardware, parallelism: Parallelism,
            serving: Serving) -> float:
    """Seconds in which one rank moves one block of all layers one way (stages share it by their layers); 0 where
    preempted requests are recomputed. A cache in pooled PIM stacks passes their link, too."""
    place = tier(hardware, serving)
    if place is None:
        return 0.0
    bandwidth = place.bandwidth_bytes_per_s
    if hardware.pim.placement == "pooled":
        bandwidth = min(bandwidth, hardware.pim.link_bandwidth_bytes_per_s)
    moved = kv_bytes_per_token(arch, precision, parallelism.tensor, arch.layers) * serving.block_size
    return place.latency_s + moved / bandwidth
