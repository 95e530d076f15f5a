"""The records of compute devices: an NPU, a GPU by datasheet and calibrated constants, or another package's device."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from simulator.design.records.base import (
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
from simulator.design.records.silicon import NodeNm
from simulator.inputs import plugins
from simulator.inputs.errors import InputError


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
    process_nm: NodeNm = 7
    macs_8bit: Literal[1, 2] = 2  # 8-bit MACs of a processing element in a cycle, over its 16-bit ones
    dies: PositiveInt = 1  # of the package, which share everything above evenly
    price_usd: Dollars | None = Field(default=None, alias="price")  # of one that is sold


class GpuAttention(Record):
    """Constants of a framework's attention kernels on a GPU: six of prefill, six of decode, and how the kernels work.

    Defaults: geometric means of A100 and H100 with vLLM (bf16, head_dim 128); formulae: simulator.devices.gpu_attention.
    """

    # prefill
    launch_s: Seconds = Field(default="7 us", alias="launch", validate_default=True)  # all kernels of a layer
    prefill_efficiency: Fraction = 0.652  # share of the peak in the tiles of a long prompt
    block_s: Seconds = Field(default="3.2 us", alias="block", validate_default=True)  # start and end of a block
    block_rows_s: Seconds = Field(default="0.8 us", alias="block_rows", validate_default=True)  # per 128 rows of it
    prefill_exposed: Share = 0.14  # share of the longest block that the others do not hide
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
    # Most that a cache of 8-bit elements streams at: converting them binds an SM, whatever the DRAM
    decode_bandwidth_8bit_bytes_per_s: BytesPerSecond | None = Field(default=None, alias="decode_bandwidth_8bit")
    single_task_s: Seconds | None = Field(default=None, alias="single_task")  # task of one query head, where another


class GpuKernels(Record):
    """What a serving framework's kernels change on a GPU."""

    attention: GpuAttention = GpuAttention()
    quantise_s: Seconds = Field(default="3.2 us", alias="quantise", validate_default=True)


class BaseDies(Record):
    """Dies under the compute dies: caches, memory interfaces, links."""

    die_mm2: Positive  # all of them
    dies: PositiveInt
    process_nm: NodeNm


class GpuEnergyGiven(Record):
    """Energy of a GPU as measured; what is not given follows from its board power (`simulator.silicon.power`)."""

    idle_w: Watts | None = Field(default=None, alias="idle")  # with a driver's context, no kernel running
    active_w: Watts | None = Field(default=None, alias="active")  # besides, while any kernel runs
    matrix_pj_per_flop: Positive | None = None  # 16-bit matrix products, operands included
    path_pj_per_bit: Positive | None = None  # DRAM cell to register
    calibrated: bool = False  # whether these were measured on this GPU


class Gpu(Record):
    """A GPU by its datasheet and six physical constants that decide how much of it GEMMs get.

    The defaults of those six are the geometric means of A100's and H100's, each calibrated on measured bf16 GEMMs of
    three serving frameworks (fp8 on H100 alone).
    """

    peak_bf16: FlopsPerSecond
    peak_fp8: FlopsPerSecond | None = None
    peak_int8: FlopsPerSecond | None = None
    peak_fp4: FlopsPerSecond | None = None
    sms: PositiveInt
    clock_hz: Hertz = Field(alias="clock")
    l2_bytes: Bytes = Field(alias="l2")
    launch_s: Seconds = Field(alias="launch")
    compute_efficiency: Fraction = 0.855  # share of the 16-bit peak inside a GEMM tile
    compute_efficiency_8bit: Fraction = 0.67  # the same of the 8-bit peaks
    memory_efficiency: Fraction = 0.765  # share of DRAM bandwidth that kernels reach
    # 16-bit tensor operations at peak per operand byte that L2 supplies: tiles of less intensity wait for operands. Both
    # calibrated generations have the same within 1 % (supply grows with the tensor cores: larger tiles, multicast)
    flops_per_l2_byte: Positive = 76.4
    tile_overhead_s: Seconds = Field(default="1 us", alias="tile_overhead", validate_default=True)  # start, write back
    # Whether tensor instructions take one operand of any multiple of 16 up to 256 (PTX ISA: wgmma of Hopper, tcgen05.mma of
    # data-centre Blackwell), so that GEMM tiles need not be powers of two high
    any_tile_height: bool = False
    calibrated: bool = False  # whether these constants were measured on this device
    kernels: Literal["vllm", "sglang", "trtllm"] = "vllm"  # whose of the following are used
    attention: GpuAttention = GpuAttention()  # vLLM's
    quantise_s: Seconds = Field(default="3.2 us", alias="quantise", validate_default=True)  # kernel before 8-bit GEMMs
    sglang: GpuKernels | None = None
    trtllm: GpuKernels | None = None
    operators: str = "usual"  # entry of configs/kernels, or a file: kernels of all frameworks for other kinds of layers
    energy: GpuEnergyGiven | None = None
    price_usd: Dollars | None = Field(default=None, alias="price")
    power_w: Watts | None = Field(default=None, alias="power")
    die_mm2: Positive | None = None  # total silicon of the compute dies
    dies: PositiveInt = 1  # of the package, which share that silicon evenly
    process_nm: NodeNm | None = None  # needed for a bill of materials
    base_dies: BaseDies | None = None

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
