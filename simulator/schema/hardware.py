"""The hardware of a design: a compute device (NPU or GPU), its memory, PIM, links, host and prices.

`name` and `source` are labels; everything else is a knob. `hardware.npus_per_...` arithmetic lives with the models
in `simulator/hardware`; this file only says what can be written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from simulator.inputs import plugins
from simulator.inputs.errors import InputError
from simulator.schema.base import (
    Bytes,
    BytesPerSecond,
    Dollars,
    FlopsPerSecond,
    Fraction,
    Hertz,
    NonNegative,
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
    """Constants of a framework's attention kernels on a GPU: six of prefill, six of decode, and how the kernels work.

    Defaults: geometric means of A100 and H100 with vLLM (bf16, head_dim 128); formulae: simulator.hardware.gpu_attention.
    """

    # prefill
    launch_s: Seconds = Field(default="7 us", alias="launch", validate_default=True)  # all kernels of a layer
    prefill_efficiency: Fraction = 0.652  # share of the peak in the tiles of a long prompt
    block_s: Seconds = Field(default="3.2 us", alias="block", validate_default=True)  # start and end of a block
    block_rows_s: Seconds = Field(default="0.8 us", alias="block_rows", validate_default=True)  # per 128 rows of it
    prefill_exposed: Share = 0.14  # share of the longest block that does not hide beside the others
    new_kv_passes: NonNegative = 6.4  # DRAM time of a chunk's new K and V, in reads of them at peak: they go to pages
    packs_queries: bool = True  # query heads of a KV head share blocks (FlashAttention-3, FlashInfer)
    # decode
    decode_launch_s: Seconds = Field(default="14.5 us", alias="decode_launch", validate_default=True)
    decode_efficiency: Fraction = 0.833  # share of DRAM bandwidth
    task_s: Seconds = Field(default="3.45 us", alias="task", validate_default=True)  # per sequence and KV head
    task_query_s: Seconds = Field(default="0.042 us", alias="task_query", validate_default=True)  # per query head of it
    exposed: Share = 0.2  # share of the shorter of task and memory time that does not hide under the longer
    ramp_s: Seconds = Field(default="3.9 us", alias="ramp", validate_default=True)  # first keys, partial results
    whole_waves: bool = False  # equal tasks run in whole waves: the last, partly filled one takes as long as the others
    # Query heads per KV head (least, most) that share a task whose context is split; elsewhere every query head is a
    # task of its own that one block streams at `block_bandwidth`.
    split_groups: Annotated[tuple[PositiveInt, PositiveInt], Sequence] = (1, 1024)
    block_bandwidth_bytes_per_s: BytesPerSecond = Field(default="24 GB/s", alias="block_bandwidth", validate_default=True)
    single_task_s: Seconds | None = Field(default=None, alias="single_task")  # task of one query head, where another


class GpuKernels(Record):
    """What a serving framework's kernels change on a GPU."""

    attention: GpuAttention = GpuAttention()
    quantise_s: Seconds = Field(default="3.2 us", alias="quantise", validate_default=True)


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
    calibrated: bool = False  # whether these constants were measured on this device
    kernels: Literal["vllm", "sglang", "trtllm"] = "vllm"  # whose of the following are used
    attention: GpuAttention = GpuAttention()  # vLLM's
    quantise_s: Seconds = Field(default="3.2 us", alias="quantise", validate_default=True)  # kernel before 8-bit GEMMs
    sglang: GpuKernels | None = None
    trtllm: GpuKernels | None = None
    price_usd: Dollars | None = Field(default=None, alias="price")
    power_w: Watts | None = Field(default=None, alias="power")
    die_mm2: Positive | None = None  # total silicon of the compute dies
    process_nm: Literal[16, 10, 7, 5] | None = None  # only needed where no price is given

    @model_validator(mode="after")
    def _known_kernels(self) -> Gpu:
        if self.kernels != "vllm" and getattr(self, self.kernels) is None:
            raise ValueError(f"kernels is '{self.kernels}' but this GPU has no section '{self.kernels}'")
        return self

    @property
    def chosen(self) -> tuple[GpuAttention, float]:
        """Attention constants and the quantising kernel's seconds of the framework that `kernels` names."""
        other = {"vllm": None, "sglang": self.sglang, "trtllm": self.trtllm}[self.kernels]
        return (self.attention, self.quantise_s) if other is None else (other.attention, other.quantise_s)


def _known_plugin(name: str) -> str:
    try:
        plugins.find(name)
    except InputError as error:
        raise ValueError(error.message) from error
    return name


def _options(value: object) -> object:
    """A mapping as sorted pairs, lists as tuples, so that records stay hashable."""
    if not isinstance(value, dict):
        return value
    return tuple(sorted((str(key), tuple(v) if isinstance(v, list) else v) for key, v in value.items()))


class PluginDevice(Record):
    """A device that another package models, and the part of its datasheet that rooflines, cost and power need.

    plugin: a name among the entry points `llm_serving_sweeper.devices` (see examples/devices). options: its arguments.
    """

    plugin: Annotated[str, AfterValidator(_known_plugin)]
    options: Annotated[tuple[tuple[str, Any], ...], BeforeValidator(_options), PlainSerializer(dict),
                       WithJsonSchema({"type": "object"})] = ()
    peak_bf16: FlopsPerSecond
    peak_8bit: FlopsPerSecond | None = None  # as peak_bf16 where not given
    price_usd: Dollars = Field(alias="price")
    power_w: Watts = Field(alias="power")
    die_mm2: Positive | None = None


class Memory(Record):
    """Device DRAM. `bandwidth` and `capacity` follow from kind and stacks unless a datasheet's totals are given."""

    kind: MemoryKind
    stacks: PositiveInt
    bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, alias="bandwidth")
    capacity_bytes: Bytes | None = Field(default=None, alias="capacity")


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
        if self.placement == "local" and self.stacks_per_npu != int(self.stacks_per_npu):
            raise ValueError(f"stacks_per_npu must be a whole number with placement local, got {self.stacks_per_npu}")
        if self.placement == "shared" and self.row_buffer == "dual" and self.unit != "bank":
            raise ValueError(f"row_buffer 'dual' is a latch at every bank: it needs unit bank, got {self.unit}")
        kind = "HBM2" if self.placement == "shared" else self.kind  # the memory's kind is checked beside it
        if self.stack_power_w == 0:
            raise ValueError("stack_power must be above 0 W")
        if self.stack_power_w is not None and (self.commands == "newton" or self.unit == "buffer"):
            raise ValueError("stack_power spaces MAC commands of all banks: it needs commands all_bank and unit bank or "
                             "bank_group")
        if self.commands == "newton" and (kind, self.unit, self.mapping) != ("HBM2", "bank", "request"):
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
    covers (kernels launched one by one); asynchronous scheduling does not hide them. `simulator.costs.calibrate`
    fits them to a handful of measured steps.
    """

    step_s: Seconds = Field(alias="step")
    sequence_s: Seconds = Field(alias="sequence")
    device_step_s: Seconds = Field(default="0 s", alias="device_step", validate_default=True)
    device_sequence_s: Seconds = Field(default="0 s", alias="device_sequence", validate_default=True)
    graphless_step_s: Seconds = Field(default="0 s", alias="graphless_step", validate_default=True)


class MemoryTier(Record):
    """Memory behind a device's own, one device's share of it: where preempted requests' KV blocks may wait.

    Defaults: host DRAM over PCIe 5.0 x16 (32 GT/s, 128b/130b: 63 GB/s per direction).
    """

    capacity_bytes: Bytes = Field(default="256 GB", alias="capacity", validate_default=True)
    bandwidth_bytes_per_s: BytesPerSecond = Field(default="63 GB/s", alias="bandwidth", validate_default=True)  # each way
    # once per block, whose layers are copied back to back; class of a DMA transfer's start over PCIe (our estimate)
    latency_s: Seconds = Field(default="2 us", alias="latency", validate_default=True)


class Hardware(Record):
    """One accelerator and everything around it; a replica is `tensor x pipeline` of these."""

    name: str
    source: str = ""
    npu: Npu | None = None
    gpu: Gpu | None = None
    device: PluginDevice | None = None
    tables: str | None = None  # measured operators (parquet, see simulator.hardware.measured) before the datasheet's model
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

    @model_validator(mode="after")
    def _one_device(self) -> Hardware:
        if (self.npu is not None) + (self.gpu is not None) + (self.device is not None) != 1:
            raise ValueError("give exactly one of 'npu', 'gpu' and 'device'")
        if self.decode_attention == "pim" and self.pim.placement == "none":
            raise ValueError("decode_attention is 'pim' but pim.placement is 'none'")
        if self.npu is None and self.pim.placement != "none":
            raise ValueError("pim.placement must be 'none' without an 'npu': PIM is modelled beside NPUs")
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
        """PIM stacks per NPU beside its own memory."""
        return float(self.pim.stacks_per_npu) if self.pim.placement in ("local", "pooled") else 0.0

    @property
    def pim_and_npu_in_turn(self) -> bool:
        """Whether PIM and the NPU's memory accesses exclude each other."""
        return self.pim.placement == "shared" and self.pim.row_buffer == "single"
