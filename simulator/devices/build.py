"""The builder that turns a `Hardware` record into device models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from simulator.design.records.hardware import Hardware, Link
from simulator.design.records.serving import Parallelism
from simulator.devices import dram
from simulator.devices.device import Bound, Device
from simulator.devices.gpu import GpuDevice
from simulator.devices.kernel_constants import kernels
from simulator.devices.links import LinkDevice, Protocol
from simulator.devices.newton import NewtonChannel
from simulator.devices.npu import NpuDevice
from simulator.devices.pim import PimDevice, rank_channels
from simulator.devices.pim_timing import timing
from simulator.devices.plugin import plugin_device
from simulator.model.operators import DecodeAttention
from simulator.silicon import energy
from simulator.silicon.power import gpu_energy, spaced
from simulator.silicon.power_cap import limited


@dataclass(frozen=True)
class Devices:
    """What runs a rank's operators: `prefill` and `decode` take attention, `link` collectives, `compute` the rest.

    channel_costs: where PIM keeps whole requests on channels, what decode attention takes on one of them:
    (channels, seconds per request, seconds per token of its context) of one layer. None elsewhere.
    beside_pim: the NPU while PIM works in the same stacks; None where PIM does not slow it.
    attention_launch_s: the part of both attention operators' price that a step pays once per layer, whatever its chunks
    and decodes.
    """

    compute: Device
    prefill: Device  # `compute`, told where the KV cache is: apart, so that other operators keep their prices
    decode: Device
    link: Device
    attention_launch_s: float
    channel_costs: Callable[[DecodeAttention], tuple[int, float, float]] | None = None
    beside_pim: Device | None = None


def build(hardware: Hardware, parallelism: Parallelism) -> Devices:
    """The devices of one tensor-parallel rank, slowed where a power cap asks for it.

    Raises InputError where PIM is asked of memory without PIM timing, or a power cap leaves nothing to compute with.
    """
    devices = _free(hardware, parallelism)
    if hardware.power_cap_w is None:
        return devices
    decode = devices.decode if hardware.attention_on_pim else limited(devices.decode, hardware)
    return replace(devices, compute=limited(devices.compute, hardware), prefill=limited(devices.prefill, hardware),
                   decode=decode, beside_pim=devices.beside_pim and limited(devices.beside_pim, hardware))


def _free(hardware: Hardware, parallelism: Parallelism) -> Devices:
    """As `build`, without a power cap."""
    compute = _compute(hardware)
    link = link_device(hardware.link, hardware.max_devices_per_node)
    if parallelism.tensor * parallelism.pipeline > hardware.max_devices_per_node:
        link = _over_nodes(link, hardware)
    attention = _beside_pim(compute, hardware) if isinstance(compute, NpuDevice) else compute
    if not hardware.attention_on_pim:
        return Devices(compute, attention, attention, link, _attention_launch_s(compute))
    pim = _pim(hardware, parallelism)
    beside = None
    if hardware.pim.placement == "shared" and not hardware.pim_and_npu_in_turn:
        assert isinstance(compute, NpuDevice)  # the schema allows PIM with NPUs only
        attention = beside = replace(compute, bandwidth_bytes_per_s=compute.bandwidth_bytes_per_s * pim.host_share)
    if pim.mapping == "request":  # channel costs leave out all that is fixed: the link's latency counts as launch
        return Devices(compute, attention, pim, link, pim.fixed_seconds(), pim.channel_costs, beside)
    return Devices(compute, attention, pim, link, pim.launch_s, beside_pim=beside)


def _attention_launch_s(device: Device) -> float:
    if isinstance(device, NpuDevice):
        return device.launch_s
    if isinstance(device, GpuDevice):
        return min(device.attention.launch_s, device.attention.decode_launch_s)
    return float(getattr(device, "attention_launch_s", 0.0))


def link_device(link: Link, node_devices: int) -> LinkDevice:
    """Links as written, of a node with this many devices."""
    bulk = Protocol(link.bandwidth_bytes_per_s, link.latency_s, link.launch_s, link.chunk_overhead_s)
    direct = link.direct
    small = None if direct is None else Protocol(direct.bandwidth_bytes_per_s, direct.latency_s, direct.launch_s,
                                                 max_bytes=direct.max_bytes)
    return LinkDevice(link.topology, bulk, small, link.ring_only, link.in_network_reduction,
                      wired_devices=node_devices if link.topology == "fully_connected" else 0)


def _over_nodes(link: LinkDevice, hardware: Hardware) -> LinkDevice:
    """The links of a replica that spans nodes. Ranks of a tensor group are neighbours, so stages are apart first."""
    out = Protocol(hardware.scale_out.bandwidth_bytes_per_s, hardware.scale_out.latency_s, hardware.link.launch_s)
    return replace(link, scale_out=out, node_devices=hardware.max_devices_per_node)


def _compute(hardware: Hardware) -> Device:
    if hardware.device is not None:
        return plugin_device(hardware)
    memory = hardware.memory
    if hardware.npu is not None:
        npu, silicon = hardware.npu, hardware.silicon
        return NpuDevice(*npu.array, arrays=npu.arrays, dataflow=npu.dataflow, pipelined_folds=npu.pipelined_folds,
                         clock_hz=npu.clock_hz, vector_lanes=npu.vector_lanes, sram_bytes=npu.sram_bytes,
                         launch_s=npu.launch_s, bandwidth_bytes_per_s=dram.bandwidth_bytes_per_s(memory),
                         dram_pj_per_bit=energy.NPU_PATH_PJ_PER_BIT[memory.kind],
                         mac_pj=energy.mac_pj(silicon, npu.process_nm),
                         vector_op_pj=energy.vector_op_pj(silicon, npu.process_nm),
                         sram_pj_per_bit=energy.sram_pj_per_bit(npu.sram_bytes, silicon, npu.process_nm),
                         macs_8bit=npu.macs_8bit)
    gpu = hardware.gpu
    assert gpu is not None  # the schema asks for exactly one
    attention, quantise_s = gpu.chosen
    spent = gpu_energy(hardware)
    return GpuDevice(peak_16bit=gpu.peak_bf16, sms=gpu.sms,
                     # operators know widths only: fp8 where the GPU has it, else int8
                     peak_8bit=gpu.peak_fp8 or gpu.peak_int8 or gpu.peak_bf16,
                     peak_4bit=gpu.peak_fp4 or gpu.peak_fp8 or gpu.peak_int8 or gpu.peak_bf16, clock_hz=gpu.clock_hz,
                     l2_bytes=gpu.l2_bytes, launch_s=gpu.launch_s, compute_efficiency=gpu.compute_efficiency,
                     compute_efficiency_8bit=gpu.compute_efficiency_8bit, memory_efficiency=gpu.memory_efficiency,
                     flops_per_l2_byte=gpu.flops_per_l2_byte, tile_overhead_s=gpu.tile_overhead_s,
                     any_tile_height=gpu.any_tile_height,
                     quantise_s=quantise_s, attention=attention, kernels=kernels(gpu.operators, gpu.kernels),
                     calibrated=gpu.calibrated,
                     bandwidth_bytes_per_s=dram.peak_bandwidth_bytes_per_s(memory), active_w=spent.active_w,
                     matrix_pj_per_flop=spent.matrix_pj_per_flop, matrix_pj_per_flop_8bit=spent.matrix_pj_per_flop_8bit,
                     path_pj_per_bit=spent.path_pj_per_bit, vector_pj_per_op=spent.vector_pj_per_op)


def _beside_pim(npu: NpuDevice, hardware: Hardware) -> NpuDevice:
    """The NPU reading and writing a KV cache that lives in PIM stacks of its own, where there are any."""
    pim = hardware.pim
    if hardware.added_stacks == 0:
        return npu
    if pim.placement == "pooled":
        return replace(npu, kv_bandwidth_bytes_per_s=pim.link_bandwidth_bytes_per_s, kv_bound=Bound.NETWORK)
    part = dram.preset(pim.kind)
    return replace(npu, kv_bandwidth_bytes_per_s=pim.stacks_per_npu * part.peak_bytes_per_s * part.efficiency)


def _pim(hardware: Hardware, parallelism: Parallelism) -> PimDevice:
    """Stacks on the package: queries and results pass their own pins. Pooled ones are behind a link, shared by the ranks
    of a tensor group; every pipeline stage has its share, since all stages attend at once."""
    pim, shared, pooled = hardware.pim, hardware.pim.placement == "shared", hardware.pim.placement == "pooled"
    part = spaced(timing(hardware.pim_kind, "hardware.memory.kind" if shared else "hardware.pim.kind"), pim)
    on_package = (dram.peak_bandwidth_bytes_per_s(hardware.memory) if shared
                  else pim.stacks_per_npu * dram.preset(pim.kind).peak_bytes_per_s)
    newton = NewtonChannel(dual_row_buffer=pim.row_buffer == "dual") if pim.commands == "newton" else None
    return PimDevice(timing=part, unit=pim.unit, power_limited=pim.power_limited, mapping=pim.mapping,
                     channels=rank_channels(hardware.pim_stacks, part), sharers=parallelism.tensor if pooled else 1,
                     link_bytes_per_s=pim.link_bandwidth_bytes_per_s if pooled else on_package,
                     link_latency_s=pim.link_latency_s if pooled else 0.0,
                     launch_s=hardware.npu.launch_s if hardware.npu else 0.0, newton=newton)
