"""The choice of device for each operator of a model: measured where the table knows it, by datasheet elsewhere."""

from __future__ import annotations

from dataclasses import replace

from simulator.devices.build import Devices
from simulator.devices.device import Device
from simulator.devices.gpu import GpuDevice
from simulator.devices.links import LinkDevice
from simulator.devices.measured.attention import AttentionExtras, extras
from simulator.devices.measured.device import MeasuredDevice
from simulator.devices.measured.link import MeasuredLink
from simulator.devices.measured.table import OperatorTable, identity_of
from simulator.devices.roofline import Peaks
from simulator.inputs.errors import InputError
from simulator.model.operators import DecodeAttention, NamedOperator, Operator, PrefillAttention
from simulator.silicon.power_cap import PowerLimited

BLOCK_OF_EXPERTS = "experts_down"  # stands for the whole block where that was timed, and these for nothing
IN_BLOCK_OF_EXPERTS = frozenset(("router", "routing", "experts_up", "experts_activation", "experts_sum"))


def measured_devices(devices: Devices, table: OperatorTable, ops: list[NamedOperator]) -> Devices:
    """`devices` with everything that the table knows taken from it. Raises InputError for hardware other than a GPU."""
    limit = devices.compute if isinstance(devices.compute, PowerLimited) else None
    datasheet = devices.compute if limit is None else limit.device
    if not isinstance(datasheet, GpuDevice):
        raise InputError("measured tables describe a GPU; this design has none", key="hardware.tables")
    names: dict[Operator, str] = {}
    for op in ops:  # equal operators are one: the first name, that of the block, stands for the norm after the last
        names.setdefault(op.operator, op.name)
    covered = frozenset(name for name in table.meta.get("covered", "").split(",") if name)
    if not any(table.points(*identity_of(op.operator)) for op in ops if op.name == BLOCK_OF_EXPERTS):
        covered -= IN_BLOCK_OF_EXPERTS  # a database of many models' experts, this one's not among them
    device: Device = MeasuredDevice(table, gpu_peaks(datasheet), datasheet, names, covered)
    if limit is not None:
        device = PowerLimited(device, limit.dynamic_w)
    link = devices.link
    if isinstance(link, LinkDevice) and table.identities("collective"):
        link = MeasuredLink(table, link)
    return replace(devices, compute=device, prefill=device, decode=device, link=link)


def gpu_peaks(gpu: GpuDevice) -> Peaks:
    """The ceilings of a GPU's datasheet, which its tables are compared with."""
    return Peaks(gpu.peak_16bit, gpu.peak_8bit, gpu.bandwidth_bytes_per_s, cache_bytes=gpu.l2_bytes)


def attention_extras(decode: Device, ops: list[NamedOperator], max_sequences: int, contexts: object) -> AttentionExtras | None:
    """What the tables say about mixed and uneven batches; None for devices without tables."""
    if not isinstance(decode, MeasuredDevice):
        return None
    chunk = next(op.operator for op in ops if isinstance(op.operator, PrefillAttention))
    token = next(op.operator for op in ops if isinstance(op.operator, DecodeAttention))
    return extras(decode, chunk, token, max_sequences, contexts)  # type: ignore[arg-type]
