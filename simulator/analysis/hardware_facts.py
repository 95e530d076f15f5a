"""A summary of a device as text: rates, bandwidths, area, power and price."""

from __future__ import annotations

from simulator.analysis.evidence import evidence
from simulator.design.records.hardware import Hardware
from simulator.design.records.money import Costs
from simulator.design.records.serving import Parallelism
from simulator.devices import dram
from simulator.devices.build import build
from simulator.devices.roofline import peaks, stream_bytes_per_s
from simulator.model.operators import DecodeAttention
from simulator.silicon.area import npu_area
from simulator.silicon.limits import notes
from simulator.silicon.money import BASIS_TEXT, Bill, bill


def facts(hardware: Hardware, costs: Costs, parallelism: Parallelism) -> list[tuple[str, str]]:
    """What there is to say of one device of a replica: (quantity, value with unit)."""
    top, cost, stream = peaks(hardware), bill(hardware, costs), stream_bytes_per_s(hardware)
    facts = [
        ("matrix peak, 16-bit", f"{top.matrix_16bit_flops / 1e12:,.1f} TFLOP/s"),
        ("matrix peak, 8-bit", f"{top.matrix_8bit_flops / 1e12:,.1f} TFLOP/s"),
        ("vector peak", f"{top.vector_ops / 1e12:,.2f} Tops/s" if top.vector_ops else "not bounded"),
        ("memory", f"{hardware.memory.stacks} x {hardware.memory.kind}, {dram.capacity_bytes(hardware.memory) / 1e9:,.1f} GB"),
        ("bandwidth at the pins", f"{top.memory_bytes_per_s / 1e12:,.3f} TB/s"),
        ("bandwidth of long streams", f"{stream / 1e12:,.3f} TB/s"),
        ("balance point, 16-bit", f"{top.matrix_16bit_flops / stream:,.0f} FLOP per byte "
                                  f"(GEMM rows to be compute-bound, 16-bit weights)"),
        ("links", f"{top.link_bytes_per_s / 1e9:,.0f} GB/s per direction, {hardware.link.topology}, "
                  f"{hardware.link.latency_s * 1e6:g} us a step, {hardware.link.launch_s * 1e6:g} us a launch"),
    ]
    pim = hardware.pim
    if pim.placement != "none":
        holds = (f"{hardware.added_stacks * dram.stack_capacity_bytes(pim.kind) / 1e9:,.1f} GB of KV cache"
                 if hardware.added_stacks else f"weights and KV cache in the same stacks, {pim.row_buffer} row buffer")
        facts += [("PIM", f"{pim.placement}, {hardware.pim_stacks:g} x {hardware.pim_kind} per NPU, {pim.unit} level, "
                          f"by {pim.mapping}, {holds}"),
                  ("PIM attention bandwidth",
                   f"{_pim_bandwidth(hardware) / 1e12:,.2f} TB/s (KV of 64 sequences of 4,096 tokens, 8 KV heads)")]
    if hardware.npu is not None:
        area = npu_area(hardware)
        facts.append(("die area", f"{area.total:,.0f} mm2 at {hardware.npu.process_nm} nm: compute {area.compute:,.0f}, "
                                  f"vector {area.vector:,.0f}, SRAM {area.sram:,.0f}, memory I/O {area.memory_io:,.0f}, "
                                  f"links {area.link_io:,.0f}, uncore {area.uncore:,.0f}"))
    elif cost.area_mm2:
        facts.append(("die area", f"{cost.area_mm2:,.0f} mm2"))
    if hardware.power_cap_w is not None:
        facts.append(("power cap", f"{hardware.power_cap_w:,.0f} W: what would exceed it slows"))
    tiers = [("host memory", hardware.host_memory), *([("CXL memory", hardware.cxl)] if hardware.cxl else [])]
    facts += [(name, f"{tier.capacity_bytes / 1e9:,.0f} GB at {tier.bandwidth_bytes_per_s / 1e9:,.0f} GB/s, "
                     f"{tier.latency_s * 1e6:g} us a block") for name, tier in tiers]
    facts += [("price", _price(cost)),
              ("power", f"board: idle {cost.static_w - costs.server_power_w:,.0f} W, full matrix load "
                        f"{cost.peak_w - costs.server_power_w:,.0f} W; share of the server {costs.server_power_w:,.0f} W")]
    rests = evidence(hardware)
    facts += [("time rests on", rests.time), ("power rests on", rests.power)]
    return [*facts, *(("note", line) for line in notes(hardware))]


def _price(cost: Bill) -> str:
    basis = BASIS_TEXT[cost.basis]
    if cost.basis == "rental":
        return f"{cost.rent_usd_per_hour:,.2f} USD/h ({basis})"
    listed = "; no list price: as a challenger would sell it" if cost.estimated else ""
    return (f"device {cost.device_usd:,.0f} USD, PIM {cost.pim_usd:,.0f}, share of server and network {cost.server_usd:,.0f} "
            f"({basis}{listed})")


def _pim_bandwidth(hardware: Hardware) -> float:
    """KV bytes per second that decode attention gets through on one NPU's PIM."""
    import numpy as np

    op = DecodeAttention(heads=8, kv_heads=8, head_dim=128, kv_bits=16, activation_bits=16)
    seconds = build(hardware, Parallelism()).decode.price(op, np.array([64.0]), np.array([4096.0])).seconds[0]
    return float(64 * 4096 * 2 * 8 * 128 * 2 / seconds)
