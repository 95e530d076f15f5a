"""The hardware summary in Markdown: what would be built, of how many parts, at which peaks, area, watts and price."""

from __future__ import annotations

from simulator.analysis.hardware_facts import facts
from simulator.design.design import Design
from simulator.devices.roofline import peaks
from simulator.silicon.money import BASIS_TEXT, bill


def sheet(design: Design, title: str, reached: dict[str, str]) -> str:
    """The summary of one design; `reached`: what it did in the study, as text by name."""
    hardware, parallelism = design.hardware, design.parallelism
    cost, top = bill(hardware, design.costs), peaks(hardware)
    n = parallelism.devices
    system = [
        ("model", f"{design.model.name}, weights {design.precision.weights}, activations {design.precision.activations}, "
                  f"KV cache {design.precision.kv}"),
        ("devices", f"{n} = tensor {parallelism.tensor} x pipeline {parallelism.pipeline} x replicas {parallelism.replicas}"),
        ("matrix peak, 16-bit", f"{n * top.matrix_16bit_flops / 1e12:,.1f} TFLOP/s"),
        ("memory bandwidth", f"{n * top.memory_bytes_per_s / 1e12:,.2f} TB/s"),
        ("power", f"static {n * cost.static_w:,.0f} W, peak {n * cost.peak_w:,.0f} W"),
        ("purchase price", f"{n * cost.capital_usd:,.0f} USD ({BASIS_TEXT[cost.basis]})"),
    ]
    if cost.basis == "rental":
        system[-1] = ("rent", f"{n * cost.rent_usd_per_hour:,.2f} USD/h ({BASIS_TEXT[cost.basis]})")
    device = facts(hardware, design.costs, parallelism)
    if hardware.npu is not None:
        npu = hardware.npu
        device = [("arrays", f"{npu.arrays} x {npu.array[0]} x {npu.array[1]}, {npu.dataflow.replace('_', '-')}, "
                             f"{npu.clock_hz / 1e9:g} GHz"),
                  ("vector unit", f"{npu.vector_lanes:,} lanes"), ("SRAM", f"{npu.sram_bytes / 1e6:,.1f} MB"), *device]
    parts = [f"# {title}\n", _table("system", system), _table(f"one device: {hardware.name}", device)]
    if reached:
        parts.append(_table("simulated", list(reached.items())))
    return "\n".join(parts)


def _table(name: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"## {name[0].upper()}{name[1:]}", "", "| quantity | value |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {a} | {b} |".replace("\n", " ") for a, b in rows), ""])
