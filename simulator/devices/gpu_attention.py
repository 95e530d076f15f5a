"""The time of a GPU's attention kernels, from their structure and the constants of a `GpuAttention` record.

Prefill: flash attention (Dao, "FlashAttention-2", 2023): blocks of up to 128 query rows of a head spread over the SMs.
Kernels with packed queries put all query heads of a KV head into the same blocks. Decode: flash-decoding (Dao et al.,
2023): every sequence and KV head is a task of an SM, its context split where tasks are few, so that the KV cache is read
once at a bandwidth that does not depend on their number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.compute import GpuAttention
from simulator.model.operators import DecodeAttention, PrefillAttention, causal_pairs

Float64 = NDArray[np.float64]

TILE = 128  # query rows of a block (FlashAttention-2, head_dim 128)
TENSOR_ROWS = 16  # rows of a tensor-core instruction: a smaller query group is padded to it
RAMP_TOKENS = 512  # context from which a decode pays its whole ramp
SPLIT_BELOW = 0.5  # tasks per SM below which kernels with whole waves split contexts (FlashInfer's plan)


def prefill_s(constants: GpuAttention, operator: PrefillAttention, chunk: Float64, context: Float64, *, sms: int,
              flops_per_s: float, bandwidth_bytes_per_s: float) -> Float64:
    """Seconds of a chunk after its launch, shape of chunk and context.

    The blocks of all heads share the SMs; the last and longest of them is partly on its own. A block's last tile of
    keys is half masked. New keys and values are written to the pages of the cache.
    """
    packed = operator.heads // operator.kv_heads if constants.packs_queries else 1
    columns = operator.heads // packed
    rows = np.minimum(chunk * packed, TILE)
    block_s = constants.block_s + constants.block_rows_s * rows / TILE
    pairs = causal_pairs(chunk, context)
    blocks = np.ceil(chunk * packed / TILE) * columns
    work = (pairs + chunk * rows / packed / 2) * (4.0 * operator.heads * operator.head_dim)
    all_s = work / flops_per_s + blocks / sms * block_s
    longest_s = rows * (context + chunk) * (4.0 * operator.head_dim) / (flops_per_s / sms) + block_s
    return (np.maximum(all_s, longest_s) + constants.prefill_exposed * np.minimum(all_s, longest_s)
            + chunk * (constants.new_kv_passes * operator.kv_bytes / bandwidth_bytes_per_s))


def decode_s(constants: GpuAttention, operator: DecodeAttention, sequences: Float64, context: Float64, *, sms: int,
             flops_per_s: float, bandwidth_bytes_per_s: float) -> tuple[Float64, Float64, Float64]:
    """(seconds where tasks rule, seconds where memory rules, bytes moved) of a batch after its launch."""
    group = operator.heads // operator.kv_heads
    least, most = constants.split_groups
    split = least <= group <= most
    tasks = sequences * (operator.kv_heads if split else operator.heads)
    padded = -(-group // TENSOR_ROWS) * TENSOR_ROWS
    matrix_s = sequences * context * (4.0 * operator.kv_heads * padded * operator.head_dim) / flops_per_s
    task_s = constants.task_s + constants.task_query_s * (group if split else 1)
    if constants.single_task_s is not None and (group == 1 or not split):
        task_s = constants.single_task_s
    tasks_s = np.maximum(tasks * (task_s / sms), matrix_s)
    read = sequences * context * operator.kv_bytes
    moved = read + sequences * operator.query_bytes
    waves = tasks / sms
    filled = np.where(waves >= SPLIT_BELOW, np.ceil(waves) / np.maximum(waves, SPLIT_BELOW), 1.0)
    streamed = read * filled if constants.whole_waves else read
    rate = bandwidth_bytes_per_s * constants.decode_efficiency
    if operator.kv_bits <= 8 and constants.decode_bandwidth_8bit_bytes_per_s is not None:
        rate = min(rate, constants.decode_bandwidth_8bit_bytes_per_s)
    memory_s = (streamed + sequences * operator.query_bytes) / rate
    if not split:
        one = operator.kv_bytes / operator.kv_heads
        memory_s = np.maximum(memory_s, np.ceil(waves) * context * (one / constants.block_bandwidth_bytes_per_s))
    beside_s = (constants.exposed * np.minimum(tasks_s, memory_s)
                + constants.ramp_s * np.minimum(context / RAMP_TOKENS, 1.0))
    return tasks_s + beside_s, memory_s + beside_s, moved
