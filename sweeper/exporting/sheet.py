"""What a design's hardware is, on a page of Markdown: units, memory, links, silicon, power, price, ceilings."""

from __future__ import annotations

from simulator.design import Design
from simulator.hardware import dram
from simulator.hardware.area import npu_area
from simulator.hardware.cost import bill
from simulator.hardware.peaks import peaks


def sheet(design: Design, title: str) -> str:
    """The hardware of one device and of the system as Markdown tables. Raises InputError where no price can be told."""
    rows = {"System": _system(design), "Compute": _compute(design), "Memory": _memory(design), "PIM": _pim(design),
            "Links": _links(design), "Ceilings of one device": _peaks(design), "Silicon, power, price": _bill(design)}
    lines = [f"# {title}", ""]
    for name, section in rows.items():
        if section:
            lines += [f"## {name}", "", "| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in section), ""]
    return "\n".join(lines)


def _system(design: Design) -> list[tuple[str, str]]:
    p, precision = design.parallelism, design.precision
    return [("model", design.model.name), ("hardware", design.hardware.name),
            ("number formats", f"weights {precision.weights}, activations {precision.activations}, KV {precision.kv}"),
            ("devices", f"{p.devices} = TP{p.tensor} x PP{p.pipeline} x {p.replicas} replicas")]


def _compute(design: Design) -> list[tuple[str, str]]:
    npu, gpu = design.hardware.npu, design.hardware.gpu
    if npu is not None:
        return [("systolic arrays", f"{npu.arrays} of {npu.array[0]} x {npu.array[1]} MACs"),
                ("dataflow", npu.dataflow.replace("_", " ")), ("clock", f"{npu.clock_hz / 1e9:.4g} GHz"),
                ("vector lanes", f"{npu.vector_lanes:,}"), ("SRAM", f"{npu.sram_bytes / 2**20:,.4g} MiB"),
                ("process", f"{npu.process_nm} nm")]
    if gpu is not None:
        return [("streaming multiprocessors", f"{gpu.sms}"), ("clock", f"{gpu.clock_hz / 1e9:.4g} GHz"),
                ("L2", f"{gpu.l2_bytes / 2**20:,.4g} MiB")]
    return []


def _memory(design: Design) -> list[tuple[str, str]]:
    memory = design.hardware.memory
    return [("kind", f"{memory.stacks:g} x {memory.kind}"),
            ("capacity", f"{dram.capacity_bytes(memory) / dram.GB:,.4g} GB"),
            ("bandwidth at the pins", f"{dram.peak_bandwidth_bytes_per_s(memory) / 1e12:.4g} TB/s"),
            ("bandwidth of long streams", f"{dram.bandwidth_bytes_per_s(memory) / 1e12:.4g} TB/s")]


def _pim(design: Design) -> list[tuple[str, str]]:
    hardware = design.hardware
    if hardware.pim.placement == "none":
        return []
    rows = [("placement", hardware.pim.placement), ("stacks per NPU", f"{hardware.pim_stacks:g} x {hardware.pim_kind}"),
            ("decode attention", "on PIM" if hardware.attention_on_pim else "on the NPU")]
    if hardware.added_stacks:
        added = hardware.added_stacks * dram.stack_capacity_bytes(hardware.pim.kind) / dram.GB
        rows.append(("capacity beside the NPU's memory", f"{added:,.4g} GB per NPU"))
    return rows


def _links(design: Design) -> list[tuple[str, str]]:
    link, out = design.hardware.link, design.hardware.scale_out
    return [("between devices", f"{link.bandwidth_bytes_per_s / 1e9:,.4g} GB/s per device and direction, "
                                f"{link.latency_s * 1e6:.3g} us a step, {link.topology.replace('_', ' ')}"),
            ("between nodes", f"{out.bandwidth_bytes_per_s / 1e9:,.4g} GB/s per device, {out.latency_s * 1e6:.3g} us a step"),
            ("devices per node", f"at most {design.hardware.max_devices_per_node}")]


def _peaks(design: Design) -> list[tuple[str, str]]:
    top = peaks(design.hardware)
    rows = [("16-bit matrix", f"{top.matrix_16bit_flops / 1e12:,.4g} TFLOP/s"),
            ("8-bit matrix", f"{top.matrix_8bit_flops / 1e12:,.4g} TOP/s")]
    if top.vector_ops is not None:
        rows.append(("vector", f"{top.vector_ops / 1e12:,.4g} TOP/s"))
    ridge = top.matrix_16bit_flops / top.memory_bytes_per_s
    return [*rows, ("16-bit ridge point", f"{ridge:,.4g} FLOP/byte")]


def _bill(design: Design) -> list[tuple[str, str]]:
    own = bill(design.hardware, design.parallelism, design.costs)
    rows = []
    if own.area_mm2:
        rows.append(("compute die", f"{own.area_mm2:,.4g} mm2"))
    if design.hardware.npu is not None:
        area = npu_area(design.hardware)
        parts = ("compute", "vector", "sram", "crossbar", "memory_io", "link_io")
        rows.append(("of which", ", ".join(f"{part.replace('_', ' ')} {getattr(area, part):.3g} mm2" for part in parts)))
    devices = design.parallelism.devices
    return [*rows, ("power of a device with its server's share", f"{own.static_w:,.4g} W idle, {own.peak_w:,.4g} W peak"),
            ("price of a device", f"{own.device_usd:,.0f} USD, PIM {own.pim_usd:,.0f} USD, server {own.server_usd:,.0f} USD"),
            (f"price of all {devices} devices", f"{own.capital_usd * devices:,.0f} USD")]
