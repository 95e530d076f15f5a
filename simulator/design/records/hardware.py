"""The hardware record of a design: a compute device (NPU or GPU), its memory, PIM, links, host and prices.

`name` and `source` are labels; everything else is a knob. This file says what can be written; what follows from it is
computed in `simulator/devices` and `simulator/silicon`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from simulator.design.records.base import Bytes, BytesPerSecond, DollarsPerHour, PositiveInt, Record, Seconds, Watts
from simulator.design.records.compute import Gpu, Npu, PluginDevice
from simulator.design.records.memory import Memory, MemoryTier, Pim
from simulator.design.records.silicon import Silicon

__all__ = ["Gpu", "Hardware", "Link", "Memory", "MemoryTier", "Npu", "Pim", "PluginDevice", "ScaleOut", "Silicon"]


class DirectAllReduce(Record):
    """A serving engine's own all-reduce kernels for small messages: every device reads its peers' memory."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")  # per device and direction
    latency_s: Seconds = Field(alias="latency")  # per step: a barrier between devices
    launch_s: Seconds = Field(alias="launch")
    max_bytes: Bytes = Field(alias="max")  # this and larger go the common way


class ScaleOut(Record):
    """Network between nodes, per device (one network port each)."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(default="50 GB/s", alias="bandwidth", validate_default=True)  # 400 Gb/s
    # per step, class of the 5 us that NCCL's tuning tables take for a network hop
    latency_s: Seconds = Field(default="5 us", alias="latency", validate_default=True)


class Link(Record):
    """Device-to-device links inside a replica (tensor and pipeline parallel traffic)."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")  # per device and direction
    latency_s: Seconds = Field(alias="latency")  # per step of an algorithm
    launch_s: Seconds = Field(alias="launch")  # once per collective
    topology: Literal["ring", "fully_connected", "switch", "torus_2d", "torus_3d"] = "ring"
    ring_only: bool = False  # the library walks rings whatever the topology, as NCCL inside a node
    in_network_reduction: bool = False  # the switch reduces (NVLink SHARP)
    chunk_overhead_s: Seconds = Field(default="0 s", alias="chunk_overhead", validate_default=True)
    direct: DirectAllReduce | None = None


class Host(Record):
    """CPU time of the serving engine: per step, and per sequence in the batch.

    `device_step` and `device_sequence` are what every step adds to the device's own time on top of the operators of the
    model (input copies, graph launch, the bubble before it); asynchronous scheduling does not hide them. Where no CUDA
    graph covers a step, kernels are launched one by one: `graphless_layer` is the CPU's time for those of one decoder
    block, and the device waits where its own is shorter. `simulator.recorded.fit` fits these to measured steps.
    """

    step_s: Seconds = Field(alias="step")
    sequence_s: Seconds = Field(alias="sequence")
    device_step_s: Seconds = Field(default="0 s", alias="device_step", validate_default=True)
    device_sequence_s: Seconds = Field(default="0 s", alias="device_sequence", validate_default=True)
    graphless_layer_s: Seconds = Field(default="0 s", alias="graphless_layer", validate_default=True)


class Hardware(Record):
    """One accelerator and everything around it; a replica is `tensor x pipeline` of these."""

    name: str
    source: str = ""
    npu: Npu | None = None
    gpu: Gpu | None = None
    device: PluginDevice | None = None
    tables: str | None = None  # measured operators (parquet, see simulator.devices.measured) before the datasheet's model
    # Time of a kernel while serving, over its time in the tables: a profiler's short bursts run at other clocks than hours
    # of load under a power limit. `python -m simulator calibrate` finds it.
    kernel_time: float = Field(default=1.0, ge=0.5, le=2.0)
    memory: Memory
    pim: Pim = Pim()
    decode_attention: Literal["device", "pim", "auto"] = "auto"  # auto: on PIM where there is one
    link: Link
    host: Host
    host_memory: MemoryTier = MemoryTier()
    cxl: MemoryTier | None = None
    # Limit of the accelerator's package: die, memory, PIM on it. The clock is what keeps all units busy inside it.
    power_cap_w: Watts | None = Field(default=None, alias="power_cap")
    max_devices_per_node: PositiveInt = 8  # a replica of more spans nodes
    scale_out: ScaleOut = ScaleOut()
    rental_usd_per_hour: DollarsPerHour | None = Field(default=None, alias="rental")  # instead of the costs' own
    silicon: Silicon = Silicon()  # constants of the die's area, energy and yield; where a datasheet gives these, unused

    @model_validator(mode="after")
    def _one_device(self) -> Hardware:
        if (self.npu is not None) + (self.gpu is not None) + (self.device is not None) != 1:
            raise ValueError("give exactly one of 'npu', 'gpu' and 'device'")
        if self.decode_attention == "pim" and self.pim.placement == "none":
            raise ValueError("decode_attention is 'pim' but pim.placement is 'none'")
        if self.npu is None and self.pim.placement != "none":
            raise ValueError("pim.placement must be 'none' without an 'npu': PIM is modelled with NPUs only")
        if self.power_cap_w is not None and (self.device is not None or (self.gpu is not None and not self.gpu.power_w)):
            raise ValueError("power_cap needs an npu, or a gpu with its power")
        if self.pim.placement == "shared" and self.pim.row_buffer == "dual" and not self.memory.kind.startswith("HBM"):
            raise ValueError(f"pim.row_buffer 'dual' needs HBM: MAC commands fill the command bus of {self.memory.kind}")
        if self.pim.placement == "shared" and self.pim.commands == "newton" and self.memory.kind != "HBM2":
            raise ValueError(f"pim.commands 'newton' in shared memory needs memory.kind HBM2, got {self.memory.kind}")
        return self

    @property
    def attention_on_pim(self) -> bool:
        """Whether decode attention runs in PIM."""
        return self.pim.placement != "none" and self.decode_attention != "device"

    @property
    def pim_kind(self) -> str:
        """Kind of the stacks with PIM, where there are any."""
        return self.memory.kind if self.pim.placement == "shared" else self.pim.kind

    @property
    def pim_stacks(self) -> float:
        """Stacks with PIM per NPU."""
        return {"none": 0.0, "shared": float(self.memory.stacks)}.get(self.pim.placement, float(self.pim.stacks_per_npu))

    @property
    def added_stacks(self) -> float:
        """PIM stacks per NPU in addition to its own memory."""
        return float(self.pim.stacks_per_npu) if self.pim.placement in ("local", "pooled") else 0.0

    @property
    def pim_and_npu_in_turn(self) -> bool:
        """Whether PIM and the NPU's memory accesses exclude each other."""
        return self.pim.placement == "shared" and self.pim.row_buffer == "single"
