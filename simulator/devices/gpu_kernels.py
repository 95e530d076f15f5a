"""The time of GPU kernels other than plain GEMMs and full attention, from counts of their work and six calibrated constants.

Streams (attention over windows, latents or picked keys, an indexer's scores, recurrences): blocks spread over the SMs, each a
loop over keys, tokens or states. With C seconds of multiply-adds at peak, M seconds of bytes at the DRAM's pins, B blocks per
SM and S steps of the longest block

    all = C / compute + B block        longest = S step + block        computing = max(all, longest)
    time = launch + max(computing, M / memory) + exposed min(computing, M / memory)

Tiles (block-scaled GEMMs, experts): the fastest tiling counts, of whole waves over the SMs, no reduction split

    wave  = k max(2 rows columns / compute, operand bytes / sm_bandwidth) + tile
    time = launch + max(waves wave, bytes / memory) [+ the same of the second product] + passes x activations / bandwidth
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.kernels import StreamKernel, TileKernel
from simulator.devices.experts import Load
from simulator.model.operators import (
    STATE_BLOCK,
    Attention,
    Convolution,
    DecodeAttention,
    DecodeState,
    ExpertBlock,
    Gemm,
    Operator,
    PrefillAttention,
    PrefillState,
    State,
    chunked_flops,
    seen_keys,
    seen_pairs,
)

Float64 = NDArray[np.float64]

BLOCK_ROWS = 128  # query rows of a prefill block (FlashAttention-2)
KEYS = 64  # keys, or tokens of a recurrence, that a block takes in one step
TASK_HEADS = 64  # query heads of a KV head that one decode task serves
TENSOR_ROWS = 16  # rows of a tensor-core instruction
SCORE_BYTES = 2 * 4.0  # an indexer's score in fp32, written and read again to pick the best
HEIGHTS, WIDTHS = (8, 16, 32, 64, 128, 256), (64, 128, 192, 256)  # of tiles
# DRAM passes of the token stream around experts, in bytes per element: quantised, sorted, gathered, zeroed and summed up
STREAM_PASSES_BYTES = 12.0


@dataclass(frozen=True)
class StreamWork:
    """What a stream kernel does at every shape."""

    flops: Float64
    bits: int  # of the wider operand
    bytes: Float64
    blocks: Float64
    steps: Float64  # of the longest block


def stream_kind(operator: Operator) -> str | None:
    """The kind of kernel that runs `operator`; None for full attention, GEMMs, vectors and collectives."""
    if isinstance(operator, Convolution):
        return "convolution"
    phase = "prefill" if isinstance(operator, PrefillAttention | PrefillState) else "decode"
    if isinstance(operator, State):
        return f"{operator.kind}_{phase}"
    if isinstance(operator, Attention) and operator.kind != "full":
        return f"{operator.kind}_{phase}"
    return None


def stream_format(operator: Operator) -> str:
    """Number format of a kernel's operands, where kernels differ by it."""
    if not isinstance(operator, Attention):
        return ""
    if operator.activation_bits <= 8:
        return "fp8"
    return "fp8_kv" if operator.kv_bits <= 8 else "bf16"


def tile_format(operator: Gemm | ExpertBlock) -> str:
    """Number format of a matrix product: fp8_block, nvfp4, mxfp4, fp8, bf16, and w4a16 or w4a8 for narrower weights."""
    if operator.scales == "fp8_block" or (operator.scales and operator.matrix_bits == 4):
        return operator.scales
    widths = (operator.weight_bits, operator.activation_bits)
    return {(16, 16): "bf16", (8, 8): "fp8", (4, 16): "w4a16", (4, 8): "w4a8"}.get(widths, "bf16")


def stream_work(operator: Operator, axes: tuple[Float64, ...], sms: int) -> StreamWork:
    """The work of a stream kernel on a GPU of `sms` SMs."""
    if isinstance(operator, Convolution):
        (rows,) = axes
        return StreamWork(rows * 0.0, 16, rows * (operator.read_bytes_per_row + operator.write_bytes_per_row),
                          np.ceil(rows / 8) * -(-operator.width // 256), np.minimum(rows, 8.0))
    first, context = np.broadcast_arrays(*axes)
    if isinstance(operator, PrefillState):
        return _chunked(operator, first)
    if isinstance(operator, DecodeState):
        return StreamWork(first * operator.token_flops, 16, first * (2 * operator.state_bytes + operator.token_bytes),
                          first * operator.heads, np.ones_like(first))
    if isinstance(operator, DecodeAttention):
        return _decode(operator, first, context, sms)
    assert isinstance(operator, PrefillAttention), operator
    return _prefill(operator, first, context)


def _prefill(operator: PrefillAttention, chunk: Float64, context: Float64) -> StreamWork:
    """A block's last tile of keys is half masked, and so is the first where a window has closed."""
    if operator.kind == "sparse":
        return _gathered(operator, chunk, context)
    together = operator.heads // operator.kv_heads if operator.kind == "index" else 1
    rows = np.minimum(chunk * together, BLOCK_ROWS)
    seen = seen_pairs(operator, chunk, context)
    keys = np.minimum((context + chunk) / operator.ratio, operator.most_keys)
    masked = chunk * np.minimum(rows / together, keys) / 2
    if operator.span is not None:
        masked = masked + np.where(context + chunk > operator.most_keys, chunk * (BLOCK_ROWS / 2), 0.0)
    read = np.minimum((context + chunk) / operator.ratio, operator.most_keys + chunk)
    moved = chunk * operator.query_bytes + read * operator.kv_bytes
    flops = (seen + masked) * operator.flops_per_pair
    if operator.kind == "window":  # new keys and values come in 16 bits
        moved = moved + chunk * (2.0 * operator.kv_heads * (operator.head_dim + operator.values))
    elif operator.kind == "index":
        moved = moved + seen * (SCORE_BYTES * operator.kv_heads)
    if operator.expands:
        flops = flops + context * (2.0 * operator.heads * operator.expands)
        moved = moved + context * (2 * 2.0 * operator.heads * (operator.head_dim + operator.values))
    return StreamWork(flops, operator.matrix_bits, moved,
                      np.ceil(chunk * together / BLOCK_ROWS) * (operator.heads // together), keys / BLOCK_ROWS)


def _gathered(operator: PrefillAttention, chunk: Float64, context: Float64) -> StreamWork:
    """Every token attends to keys of its own, which are gathered for all query heads of a KV head together."""
    group = operator.heads // operator.kv_heads
    tasks = operator.kv_heads * -(-group // TASK_HEADS)
    padded = -(-group // TASK_HEADS) * TASK_HEADS / group
    seen = seen_pairs(operator, chunk, context)
    keys = np.minimum((context + chunk) / operator.ratio, operator.most_keys)
    read = (context + chunk) / operator.ratio
    return StreamWork(seen * (operator.flops_per_pair * padded), operator.matrix_bits,
                      chunk * operator.query_bytes + read * operator.kv_bytes, chunk * tasks, keys / KEYS)


def _decode(operator: DecodeAttention, sequences: Float64, context: Float64, sms: int) -> StreamWork:
    """Every sequence and KV head is a task, of up to TASK_HEADS query heads; contexts are split where tasks are few."""
    group = operator.heads // operator.kv_heads
    keys = seen_keys(operator, context)
    padded = -(-group // TENSOR_ROWS) * TENSOR_ROWS / group
    tasks = sequences * (operator.kv_heads * -(-group // TASK_HEADS))
    split = np.clip(sms / np.maximum(tasks, 1.0), 1.0, np.maximum(keys / KEYS, 1.0))
    moved = sequences * (keys * operator.kv_bytes + operator.query_bytes)
    if operator.kind == "index":
        moved = moved + sequences * keys * (SCORE_BYTES * operator.kv_heads)
    return StreamWork(sequences * keys * (operator.flops_per_pair * padded), operator.matrix_bits, moved, tasks,
                      keys / KEYS / split)


def _chunked(operator: PrefillState, tokens: Float64) -> StreamWork:
    """Blocks of tokens follow one another through a head's state; states between blocks are written and read."""
    blocks = np.ceil(tokens / STATE_BLOCK)
    between = 2 * 2.0 * operator.heads * operator.head_dim * operator.state  # 16 bits, written and read
    inside = 3 * 2.0 * operator.heads * (operator.head_dim + operator.state)
    moved = tokens * (operator.token_bytes + inside) + blocks * between + 2 * operator.state_bytes
    return StreamWork(tokens * chunked_flops(operator), 16, moved, blocks * operator.heads, blocks)


def stream_parts(constants: StreamKernel, work: StreamWork, *, sms: int, flops_per_s: float,
                 bandwidth_bytes_per_s: float) -> tuple[Float64, Float64]:
    """(seconds of computing, seconds of reading) of a stream kernel."""
    every = work.flops / (flops_per_s * constants.compute) + work.blocks / sms * constants.block_s
    longest = work.steps * constants.step_s + constants.block_s
    return np.maximum(every, longest), work.bytes / (bandwidth_bytes_per_s * constants.memory)


def gemm_parts(constants: TileKernel, operator: Gemm, rows: Float64, moved: Float64, *, sms: int, flops_per_s: float,
               bandwidth_bytes_per_s: float) -> tuple[Float64, Float64, Float64]:
    """(seconds of tiles, seconds of reading, seconds of quantising its activations) of a GEMM."""
    heights = [h for h in HEIGHTS if h >= constants.least_rows]
    counts = np.stack([np.ceil(rows / height) for height in heights])
    tiles_s = _tiles_s(constants, heights, counts, operator.n, operator.k, operator.stored_weight_bits,
                       operator.stored_activation_bits, sms, flops_per_s)
    quantised = rows * (operator.k * (2.0 + operator.activation_bits / 8))
    return (tiles_s, moved / (bandwidth_bytes_per_s * constants.memory), quantised * constants.passes / bandwidth_bytes_per_s)


def experts_parts(constants: TileKernel, operator: ExpertBlock, rows: Float64, load: Load, *, sms: int, flops_per_s: float,
                  bandwidth_bytes_per_s: float) -> tuple[Float64, Float64, Float64]:
    """(seconds of tiles, seconds of reading weights, seconds of sorting, quantising and summing up) of a block of experts; the
    two products run after one another, so the first two are sums of what binds each."""
    heights = [h for h in HEIGHTS if h >= constants.least_rows]
    counts = np.stack([load.tiles(height) for height in heights])
    computing, reading = np.zeros_like(rows), np.zeros_like(rows)
    for product in (operator.up, operator.down):
        tiles_s = _tiles_s(constants, heights, counts, product.n, product.k, product.stored_weight_bits,
                           product.stored_activation_bits, sms, flops_per_s)
        weights_s = (load.awake * (product.n * product.k * product.stored_weight_bits / 8)
                     / (bandwidth_bytes_per_s * constants.memory))
        binds = tiles_s >= weights_s
        computing = computing + np.where(binds, tiles_s, 0.0)
        reading = reading + np.where(binds, 0.0, weights_s)
    gates = 2 if operator.gated else 1
    moved = (rows * (operator.hidden * STREAM_PASSES_BYTES)
             + load.visits * (4.0 * operator.hidden + 2.0 * (gates + 1) * operator.width))
    return computing, reading, moved * constants.passes / bandwidth_bytes_per_s


def _tiles_s(constants: TileKernel, heights: list[int], counts: Float64, n: int, k: int, weight_bits: float,
             activation_bits: float, sms: int, flops_per_s: float) -> Float64:
    """Seconds of the fastest tiling; counts: tiles along the rows for each height, [heights, rows]."""
    best: Float64 | None = None
    per_sm = flops_per_s * constants.compute / sms
    for height, tiles in zip(heights, counts, strict=True):
        for width in WIDTHS:
            operands = (height * activation_bits + width * weight_bits) / 8
            wave_s = k * max(2.0 * height * width / per_sm, operands / constants.sm_bandwidth_bytes_per_s) + constants.tile_s
            seconds = np.ceil(tiles * -(-n // width) / sms) * wave_s
            best = seconds if best is None else np.minimum(best, seconds)
    assert best is not None
    return best
