"""Calibrated constants of GPU kernels by operator kind, framework and number format: `configs/kernels/*.yaml`.

A kernel has six fitted constants. Two forms serve all kinds (formulae: simulator.devices.gpu_kernels): streams, whose blocks
walk over keys, tokens or states, and tiles, whose blocks are pieces of matrix products.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.design.records.base import BytesPerSecond, Fraction, NonNegative, PositiveInt, Record, Seconds, Sequence, Share

Framework = Literal["vllm", "sglang", "trtllm"]


class StreamKernel(Record):
    """Constants of a kernel of attention, of a recurrence, or row by row."""

    kind: str  # see simulator.devices.gpu_kernels.stream_kind
    framework: Framework
    format: str = ""  # of operands, where kernels differ by it
    kernel: str  # its name in the measured table
    launch_s: Seconds = Field(alias="launch")  # all kernels of the operator
    compute: Fraction  # share of the matrix peak
    memory: Fraction  # share of DRAM bandwidth
    block_s: Seconds = Field(alias="block")  # start and end of a block on an SM
    step_s: Seconds = Field(alias="step")  # least time of one step of the longest block
    exposed: Share  # share of the shorter of computing and reading that does not hide under the longer
    host_s: Seconds | None = Field(default=None, alias="host")
    loose: bool = False  # as of tiles


class TileKernel(Record):
    """Constants of a matrix product with block-scaled operands, or of a block of experts. least_rows: height of the smallest tile
    (a property of the tensor instruction, not fitted)."""

    kind: str  # gemm | experts
    framework: Framework
    format: str
    kernel: str
    least_rows: PositiveInt = 16
    launch_s: Seconds = Field(alias="launch")
    compute: Fraction
    memory: Fraction
    tile_s: Seconds = Field(alias="tile")  # start and write back of a tile
    sm_bandwidth_bytes_per_s: BytesPerSecond = Field(alias="sm_bandwidth")  # operands from L2 to one SM
    passes: NonNegative  # DRAM passes over the activations that quantising, sorting and summing up take
    host_s: Seconds | None = Field(default=None, alias="host")
    loose: bool = False  # the form misses this kernel by more than 22 %: serving takes another framework's where there is one


class KernelTable(Record):
    """The kernels of one generation of GPUs. The first entry of a kind, framework and format is what serving uses; others are
    kernels that measurements also cover."""

    source: str
    streams: Annotated[tuple[StreamKernel, ...], Sequence]
    tiles: Annotated[tuple[TileKernel, ...], Sequence]
