"""The hardware of a design: a compute device (NPU or GPU), its memory, PIM, links, host and prices.

`name` and `source` are labels; everything else is a knob. `hardware.npus_per_...` arithmetic lives with the models
in `simulator/hardware`; this file only says what can be written.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.schema.base import (
    Bytes,
    BytesPerSecond,
    Dollars,
    FlopsPerSecond,
    Fraction,
    Hertz,
    Positive,
    PositiveInt,
    Record,
    Seconds,
    Sequence,
    Share,
    Watts,
)

MemoryKind = Literal["HBM2", "HBM2E", "HBM3", "HBM3E", "GDDR6", "GDDR6X", "GDDR7", "LPDDR5"]


class Npu(Record):
    """Systolic arrays, a vector unit and a scratchpad behind one memory."""

    array: Annotated[tuple[PositiveInt, PositiveInt], Sequence]  # rows, columns
    arrays: PositiveInt  # systolic arrays per NPU
    dataflow: Literal["weight_stationary", "output_stationary", "input_stationary"] = "weight_stationary"
    pipelined_folds: bool = True  # preload and drain of the next fold hide under the present one
    clock_hz: Hertz = Field(alias="clock")
    vector_lanes: PositiveInt  # one operation per lane and cycle
    sram_bytes: Bytes = Field(alias="sram")
    launch_s: Seconds = Field(alias="launch")  # dispatch of one operator
    process_nm: Literal[16, 10, 7, 5] = 7


class GpuAttention(Record):
    """Constants of a GPU's attention kernels, calibrated on measured vLLM attention (bf16, head_dim 128).

    Defaults: geometric means of A100 and H100.
    """

    launch_s: Seconds = Field(default="14.3 us", alias="launch", validate_default=True)  # all kernels of a layer
    prefill_efficiency: Fraction = 0.627  # share of the 16-bit peak
    block_s: Seconds = Field(default="0.92 us", alias="block", validate_default=True)  # per block and head
    block_rows_s: Seconds = Field(default="4.77 us", alias="block_rows", validate_default=True)  # per 128 rows of it
    decode_efficiency: Fraction = 0.79  # share of DRAM bandwidth
    task_s: Seconds = Field(default="3.48 us", alias="task", validate_default=True)  # per sequence and KV head
    task_query_s: Seconds = Field(default="0.034 us", alias="task_query", validate_default=True)  # per query head of it
    exposed: Share = 0.13  # share of the shorter of task and memory time that does not hide under the longer


class Gpu(Record):
    """A GPU by its datasheet and six physical constants that decide how much of it GEMMs get.

    The defaults of those six are the geometric means of A100's and H100's, each calibrated on measured bf16 GEMMs of
    three serving frameworks (fp8 on H100 alone).
    """

    peak_bf16: FlopsPerSecond
    peak_fp8: FlopsPerSecond | None = None
    peak_int8: FlopsPerSecond | None = None
    sms: PositiveInt
    clock_hz: Hertz = Field(alias="clock")
    l2_bytes: Bytes = Field(alias="l2")
    launch_s: Seconds = Field(alias="launch")
    compute_efficiency: Fraction = 0.855  # share of the 16-bit peak inside a GEMM tile
    compute_efficiency_8bit: Fraction = 0.67  # the same of the 8-bit peaks
    memory_efficiency: Fraction = 0.765  # share of DRAM bandwidth that kernels reach
    l2_bytes_per_clock: Positive = 37.9  # operand bytes an SM takes from L2 per cycle
    tile_overhead_s: Seconds = Field(default="1 us", alias="tile_overhead", validate_default=True)  # start, write back
    attention: GpuAttention = GpuAttention()
    calibrated: bool = False  # whether these constants were measured on this device
    quantise_s: Seconds = Field(default="3.2 us", alias="quantise", validate_default=True)  # kernel before 8-bit GEMMs
    price_usd: Dollars | None = Field(default=None, alias="price")
    power_w: Watts | None = Field(default=None, alias="power")
    die_mm2: Positive | None = None  # total silicon of the compute dies
    process_nm: Literal[16, 10, 7, 5] | None = None  # only needed where no price is given


class Memory(Record):
    """Device DRAM. `bandwidth` and `capacity` follow from kind and stacks unless a datasheet's totals are given."""

    kind: MemoryKind
    stacks: PositiveInt
    bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, alias="bandwidth")
    capacity_bytes: Bytes | None = Field(default=None, alias="capacity")


class Pim(Record):
    """Processing in memory for decode attention: DRAM stacks with MACs that hold the KV cache.

    placement: `none`; `local`, stacks on every NPU's package; `pooled`, stacks of their own behind a link, shared by
    all NPUs of a replica. `stacks_per_npu` is the ratio PIM stacks : NPUs in both (a fraction only where pooled).
    """

    placement: Literal["none", "local", "pooled"] = "none"
    kind: MemoryKind = "HBM3"
    stacks_per_npu: Positive = 4
    unit: Literal["bank", "bank_group", "buffer"] = "bank"
    # all_bank: every bank opens and multiplies together (AttAcc). newton: banks open in groups under tFAW, compound
    # commands, refresh deadlines (Newton, NeuPIMs); whole requests on channels, bank units, HBM2 only.
    commands: Literal["all_bank", "newton"] = "all_bank"
    power_limited: bool = True  # MAC commands spaced to stay inside the stack's power budget
    mapping: Literal["request", "head", "sequence"] = "head"
    sub_batches: Literal["never", "always", "auto"] = "never"  # NPU works on one half while PIM works on the other
    link_bandwidth_bytes_per_s: BytesPerSecond = Field(default="64 GB/s", alias="link_bandwidth", validate_default=True)
    link_latency_s: Seconds = Field(default="1 us", alias="link_latency", validate_default=True)

    @model_validator(mode="after")
    def _whole_stacks(self) -> Pim:
        if self.placement == "local" and self.stacks_per_npu != int(self.stacks_per_npu):
            raise ValueError(f"stacks_per_npu must be a whole number with placement local, got {self.stacks_per_npu}")
        if self.commands == "newton" and (self.kind, self.unit, self.mapping) != ("HBM2", "bank", "request"):
            raise ValueError("commands 'newton' needs kind HBM2, unit bank and mapping request")
        return self


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
    topology: Literal["ring", "fully_connected", "switch", "torus_2d"] = "ring"
    ring_only: bool = False  # the library walks rings whatever the topology, as NCCL inside a node
    in_network_reduction: bool = False  # the switch reduces (NVLink SHARP)
    chunk_overhead_s: Seconds = Field(default="0 s", alias="chunk_overhead", validate_default=True)
    direct: DirectAllReduce | None = None


class Host(Record):
    """CPU time of the serving engine: per step, and per sequence in the batch.

    `device_step` and `device_sequence` are what every step adds to the device's own time beside the operators of the
    model (input copies, graph launch, the bubble before it), and `graphless_step` what a step adds that no CUDA graph
    covers (kernels launched one by one); asynchronous scheduling does not hide them. `python -m simulator calibrate`
    fits them to a handful of measured steps.
    """

    step_s: Seconds = Field(alias="step")
    sequence_s: Seconds = Field(alias="sequence")
    device_step_s: Seconds = Field(default="0 s", alias="device_step", validate_default=True)
    device_sequence_s: Seconds = Field(default="0 s", alias="device_sequence", validate_default=True)
    graphless_step_s: Seconds = Field(default="0 s", alias="graphless_step", validate_default=True)


class Hardware(Record):
    """One accelerator and everything around it; a replica is `tensor x pipeline` of these."""

    name: str
    source: str = ""
    npu: Npu | None = None
    gpu: Gpu | None = None
    tables: str | None = None  # measured operators (parquet, see simulator.hardware.measured) before the datasheet's model
    memory: Memory
    pim: Pim = Pim()
    decode_attention: Literal["device", "pim", "auto"] = "auto"  # auto: on PIM where there is one
    link: Link
    host: Host
    max_devices_per_node: PositiveInt = 8  # a replica of more spans nodes
    scale_out: ScaleOut = ScaleOut()

    @model_validator(mode="after")
    def _one_device(self) -> Hardware:
        if (self.npu is None) == (self.gpu is None):
            raise ValueError("give exactly one of 'npu' and 'gpu'")
        if self.decode_attention == "pim" and self.pim.placement == "none":
            raise ValueError("decode_attention is 'pim' but pim.placement is 'none'")
        if self.gpu is not None and self.pim.placement != "none":
            raise ValueError("pim.placement must be 'none' on a GPU: PIM is modelled beside NPUs")
        return self

    @property
    def attention_on_pim(self) -> bool:
        """Whether decode attention runs in PIM."""
        return self.pim.placement != "none" and self.decode_attention != "device"
