"""The memory records of a design: a device's DRAM, memory behind it, and processing in memory."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from simulator.design.records.base import Bytes, BytesPerSecond, Positive, PositiveInt, Record, Seconds, Watts

GIB = 2.0**30
MemoryKind = Literal["HBM2", "HBM2E", "HBM3", "HBM3E", "GDDR6", "GDDR6X", "GDDR7", "LPDDR5", "SRAM"]

# Bytes of one stack (HBM) or device (GDDR, LPDDR) as shipped; sources with the presets of simulator.devices.dram.
STACK_BYTES: dict[str, float] = {"HBM2": 16 * GIB, "HBM2E": 16 * GIB, "HBM3": 16 * GIB, "HBM3E": 24 * GIB, "GDDR6": 2 * GIB,
                                 "GDDR6X": 2 * GIB, "GDDR7": 3 * GIB, "LPDDR5": 16 * GIB}


class Memory(Record):
    """Device memory. `bandwidth` and `capacity` follow from kind and stacks unless a datasheet's totals are given. Kind SRAM
    is on the die itself (`stacks` counts nothing there) and needs both."""

    kind: MemoryKind
    stacks: PositiveInt
    bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, alias="bandwidth")
    capacity_bytes: Bytes | None = Field(default=None, alias="capacity")

    @model_validator(mode="after")
    def _sram_in_full(self) -> Memory:
        if self.kind == "SRAM" and (self.bandwidth_bytes_per_s is None or self.capacity_bytes is None):
            raise ValueError("kind SRAM has no usual size: give 'bandwidth' and 'capacity'")
        return self

    @property
    def total_bytes(self) -> float:
        """What the device reports: the datasheet's total where given, else that of its stacks."""
        return self.stacks * STACK_BYTES[self.kind] if self.capacity_bytes is None else self.capacity_bytes


class MemoryTier(Record):
    """Memory behind a device's own, one device's share of it: where preempted requests' KV blocks may wait.

    Defaults: host DRAM over PCIe 5.0 x16 (32 GT/s, 128b/130b: 63 GB/s per direction).
    """

    capacity_bytes: Bytes = Field(default="256 GB", alias="capacity", validate_default=True)
    bandwidth_bytes_per_s: BytesPerSecond = Field(default="63 GB/s", alias="bandwidth", validate_default=True)  # each way
    # once per block, whose layers are copied back to back; class of a DMA transfer's start over PCIe (our estimate)
    latency_s: Seconds = Field(default="2 us", alias="latency", validate_default=True)


class Pim(Record):
    """Processing in memory for decode attention: DRAM stacks with MACs that hold the KV cache.

    placement: `none`; `local`, stacks on every NPU's package; `pooled`, stacks of their own behind a link, shared by
    all NPUs of a replica; `shared`, the NPU's own memory has the MACs and holds weights and KV cache (NeuPIMs).
    `stacks_per_npu` is the ratio PIM stacks : NPUs of local and pooled (a fraction only where pooled); `kind` is theirs.
    Where shared, kind and stacks are the memory's.

    row_buffer: with a `single` one a bank serves either the NPU or PIM: on shared stacks NPU and PIM work in turn, and
    sub-batches gain nothing. A `dual` one is a latch at every bank for PIM alone (NeuPIMs, ASPLOS 2024): both work at
    once, the NPU on the command slots that PIM leaves.
    """

    placement: Literal["none", "local", "pooled", "shared"] = "none"
    kind: MemoryKind = "HBM3"
    stacks_per_npu: Positive = 4
    unit: Literal["bank", "bank_group", "buffer"] = "bank"
    # all_bank: every bank opens and multiplies together (AttAcc). newton: banks open in groups under tFAW, compound
    # commands, refresh deadlines (Newton, NeuPIMs); whole requests on channels, bank units, HBM2 only.
    commands: Literal["all_bank", "newton"] = "all_bank"
    row_buffer: Literal["single", "dual"] = "dual"
    power_limited: bool = True  # MAC commands spaced to stay inside the stack's power budget
    stack_power_w: Watts | None = Field(default=None, alias="stack_power")  # that budget: dynamic power of a stack
    mapping: Literal["request", "head", "sequence"] = "head"
    sub_batches: Literal["never", "always", "auto"] = "never"  # NPU works on one half while PIM works on the other
    link_bandwidth_bytes_per_s: BytesPerSecond = Field(default="64 GB/s", alias="link_bandwidth", validate_default=True)
    link_latency_s: Seconds = Field(default="1 us", alias="link_latency", validate_default=True)

    @model_validator(mode="after")
    def _whole_stacks(self) -> Pim:
        if self.kind == "SRAM":
            raise ValueError("kind SRAM has no banks to compute in: PIM needs DRAM")
        if self.placement == "local" and self.stacks_per_npu != int(self.stacks_per_npu):
            raise ValueError(f"stacks_per_npu must be a whole number with placement local, got {self.stacks_per_npu}")
        if self.placement == "shared" and self.row_buffer == "dual" and self.unit != "bank":
            raise ValueError(f"row_buffer 'dual' is a latch at every bank: it needs unit bank, got {self.unit}")
        kind = "HBM2" if self.placement == "shared" else self.kind  # the memory's kind is checked with the hardware
        if self.stack_power_w == 0:
            raise ValueError("stack_power must be above 0 W")
        if self.stack_power_w is not None and (self.commands == "newton" or self.unit == "buffer"):
            raise ValueError("stack_power spaces MAC commands of all banks: it needs commands all_bank and unit bank or "
                             "bank_group")
        if self.commands == "newton" and (kind, self.unit, self.mapping) != ("HBM2", "bank", "request"):
            raise ValueError("commands 'newton' needs kind HBM2, unit bank and mapping request")
        return self
