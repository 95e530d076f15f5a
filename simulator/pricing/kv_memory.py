"""The number of KV blocks that fit: predicted from memory, weights, activation peak and the utilisation limit.

As the design's engine sizes its cache. vLLM v1 (vllm/v1/worker/gpu_worker.py, init_device and determine_available_memory;
utils/mem_utils.py, memory_profiling):

    KV = gpu_memory_utilization x memory that CUDA reports
         - weights                              (model.memory.weight_bytes)
         - peak of a dummy step of max_num_batched_tokens tokens and of sampling max_num_seqs sequences
                                                (model.memory.activation_bytes)
         - growth of what is outside the tensors since the snapshot at start: CUDA_PROCESS_BYTES, COMMUNICATOR_BYTES
         - estimate of the CUDA graphs          (since 0.19; GRAPH_LAYER_BYTES)

SGLang measures nothing: KV = fraction x memory that is free before loading - weights. TensorRT-LLM takes a fraction of what is
free after loading and a dummy step. A connector's buffers, where the engine's record gives them, come out of any.

The snapshot is taken with the CUDA context and, in a group, NCCL's communicators in place, so these are not in the growth.
What is left of it was found on two machines, a hundredth of a large card's memory: on cards of 80 GB and more an error of all
of it moves the capacity by about 1 % with an 8B model, by more where weights leave little room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.design.design import Design
from simulator.design.engine_defaults.graphs import GraphCover
from simulator.design.records.engine import EngineRecord
from simulator.design.records.hardware import Hardware
from simulator.design.records.model import Architecture, Precision
from simulator.design.records.serving import Parallelism, Serving
from simulator.design.scheduler_rules import rules_of
from simulator.devices.dram import capacity_bytes, stack_capacity_bytes
from simulator.model.caches import Cache, caches, layer_caches
from simulator.model.layer_types import in_order
from simulator.model.memory import (
    SAMPLER_BYTES_PER_LOGIT,
    SORTING_SAMPLER_BYTES_PER_LOGIT,
    activation_bytes,
    kv_bytes_per_token,
    weight_bytes,
)
from simulator.model.sharding import stage_layers
from simulator.pricing import kv_groups
from simulator.pricing.cuda_graphs import capture_sizes, cover_of
from simulator.pricing.kv_groups import KvLayout

# What a CUDA process holds in addition to its tensors once a step has run: kernel modules loaded on first use (lazy loading),
# cuBLAS workspaces, allocator fragments. vLLM counts it as non-torch memory. 0.6 GB on an RTX A6000 with Llama-3.1-8B
# (LLMServingSim's recorded capacity at two token budgets, less weights and activations).
CUDA_PROCESS_BYTES = 0.6e9
# What a rank of a group holds in addition: channels that NCCL opens at first use, custom all-reduce's buffers (two of 8 MiB and
# their metadata), modules of the collectives. The same machine at TP 2, less the above.
COMMUNICATOR_BYTES = 0.43e9
# One decoder block in one captured CUDA graph: about ten kernel nodes with their parameters, and its share of the
# graph's buffers. vLLM logs 0.4 to 0.6 GB for the 86 graphs (51 piecewise, 35 full) of a 32-layer model.
GRAPH_LAYER_BYTES = 150e3


@dataclass(frozen=True)
class KvMemory:
    """Bytes of one device of the fullest pipeline stage, and the KV blocks of a replica."""

    memory_bytes: float  # what the utilisation limit leaves of the device's memory
    weight_bytes: float
    activation_bytes: float
    reserve_bytes: float  # context, communicators, CUDA graphs (GPUs; an NPU's runtime is not modelled)
    kv_bytes: float  # room for KV: the rest of the device's memory, or the PIM stacks
    kv_block_bytes: float  # one block on one rank, layers of the fullest stage
    num_gpu_blocks: int  # as vLLM counts them (the null block included); <= 1 where nothing fits


def memory_of(design: Design, data: int = 1) -> KvMemory:
    """The memory of a design by its engine's rule. data: engines that share one set of experts; the capacity is one engine's."""
    return predict(design.model, design.precision, design.hardware, design.parallelism, design.serving, data,
                   engine=design.engine, graphs=cover_of(design))


def predict(arch: Architecture, precision: Precision, hardware: Hardware, parallelism: Parallelism, serving: Serving,
            data: int = 1, *, engine: EngineRecord | None = None, graphs: GraphCover | None = None) -> KvMemory:
    """As `memory_of`, of the parts of a design. The KV cache goes to dedicated PIM stacks if present, else to the memory that
    holds the weights. engine: None, vLLM's rule with its graphs charged. graphs: None, vLLM's sizes."""
    layers = stage_layers(arch.layers, parallelism.pipeline)
    first = 0
    rule = "measured_of_total" if engine is None else engine.kv.rule
    device = capacity_bytes(hardware.memory)
    memory = device * serving.memory_utilization
    activation = activation_bytes(arch, parallelism.tensor, serving.max_num_batched_tokens, serving.max_num_seqs, data=data,
                                  expert_parallel=parallelism.expert_parallel, logit_bytes=_logit_bytes(engine))
    worst: KvMemory | None = None
    weights_of = weight_bytes(arch, precision, parallelism.tensor, parallelism.pipeline, data)
    if graphs is None:
        sizes = capture_sizes(serving.max_num_seqs, serving.max_num_batched_tokens) if serving.cuda_graphs else ()
        graphs = GraphCover(sizes)
    reserve = _process_bytes(hardware, parallelism, data)
    if rule == "measured_of_total" and (engine is None or engine.kv.graphs_charged) and hardware.gpu is not None:
        reserve += _graph_bytes(arch, parallelism, serving, graphs)
    if engine is not None and engine.transfer.buffer_bytes is not None:
        reserve += engine.transfer.buffer_bytes
    for count, weights in zip(layers, weights_of, strict=True):
        if hardware.added_stacks == 0:
            room = {
                "measured_of_total": memory - weights - activation - reserve,
                "fraction_of_free_before_load": (device - reserve) * serving.memory_utilization - weights,
                "fraction_of_free_after_load": (device - weights - activation - reserve) * serving.memory_utilization,
            }[rule]
        else:
            room = hardware.added_stacks * stack_capacity_bytes(hardware.pim.kind) * serving.memory_utilization
        block = _block_bytes(arch, precision, parallelism, serving, first, count)
        first += count
        blocks = int(room // block) if room > 0 else 0
        if serving.num_gpu_blocks != "auto":
            blocks = serving.num_gpu_blocks
        found = KvMemory(memory, weights, activation, reserve, room, block, blocks)
        fuller = worst is None or (blocks, -(weights + activation)) < (
            worst.num_gpu_blocks, -(worst.weight_bytes + worst.activation_bytes))
        worst = found if fuller else worst
    assert worst is not None
    return worst


def _block_bytes(arch: Architecture, precision: Precision, parallelism: Parallelism, serving: Serving, first: int,
                 count: int) -> float:
    """Bytes of one block on one rank that holds `count` layers from number `first`.

    Models of several kinds of layers share a pool as `kv_groups` says. Caches that vLLM packs by a layout of its own (an
    indexer's keys, compressed entries) are counted at their bytes per token, windows as if they kept every token.
    """
    if arch.layer_types is None:
        return kv_bytes_per_token(arch, precision, parallelism.tensor, count) * serving.block_size
    kinds = in_order(arch)[first: first + count]
    held = [cache for kind in kinds for cache in layer_caches(kind, precision, parallelism.tensor)]
    if not held:
        return float(serving.block_size)  # layers without any cache take no room
    if kv_groups.packed_otherwise(held):
        return sum(cache.bytes_per_token for cache in held) * serving.block_size
    return float(_layout(held, arch, parallelism, serving).bytes_per_block)


def _layout(held: Sequence[Cache], arch: Architecture, parallelism: Parallelism, serving: Serving) -> KvLayout:
    in_flight = max(parallelism.pipeline, 2 if serving.async_scheduling else 1) * serving.max_num_batched_tokens
    longest = arch.max_positions if serving.max_model_len == "auto" else serving.max_model_len
    return kv_groups.layout(held, max_model_len=longest, tokens_in_flight=in_flight,
                            prefix_caching=serving.enable_prefix_caching)


def logged_tokens(design: Design, memory: KvMemory) -> int:
    """Tokens of KV cache as vLLM logs them at its start, of a design without pipeline stages: those of its blocks or, where
    several groups of layers share the pool, the longest context times how often it fits."""
    model, serving = design.model, design.serving
    held = caches(model, design.precision, design.parallelism.tensor)
    if model.layer_types is None or kv_groups.packed_otherwise(held):
        return memory.num_gpu_blocks * serving.block_size
    longest = model.max_positions if serving.max_model_len == "auto" else serving.max_model_len
    return int(_layout(held, model, design.parallelism, serving).max_concurrency(memory.kv_bytes) * longest)


def pool_blocks(design: Design, memory: KvMemory) -> int:
    """Blocks of `block_size` tokens that the scheduler deals out, the null block included.

    The scheduler knows one kind of block. Where several groups of layers share the pool (windows, states) it is given as many as
    hold the tokens that the groups hold together for requests of the longest context; when it knows groups, this goes.
    """
    if memory.num_gpu_blocks <= 1 or design.serving.num_gpu_blocks != "auto" or design.model.layer_types is None:
        return memory.num_gpu_blocks
    return logged_tokens(design, memory) // design.serving.block_size + 1


def longest_sequence(design: Design, memory: KvMemory) -> int:
    """max_model_len that the design's engine starts with: where it is `auto`, the model's positions or, with an engine, what of
    them fits the cache (and the token budget, where prompts are run whole). 0 where no block fits."""
    serving = design.serving
    if serving.max_model_len != "auto":
        return serving.max_model_len
    if design.engine is None:
        return design.model.max_positions
    longest = fitting_sequence(design, memory)
    whole = not serving.enable_chunked_prefill and rules_of(serving.scheduler).whole_limit
    return min(longest, serving.max_num_batched_tokens) if whole else longest


def fitting_sequence(design: Design, memory: KvMemory) -> int:
    """Tokens of the longest sequence that an otherwise empty cache holds, no longer than the model's positions."""
    return min(design.model.max_positions, max(pool_blocks(design, memory) - 1, 0) * design.serving.block_size)


def _logit_bytes(engine: EngineRecord | None) -> int:
    sorts = engine is not None and engine.sampling.top_k_p == "sort"
    return SORTING_SAMPLER_BYTES_PER_LOGIT if sorts else SAMPLER_BYTES_PER_LOGIT


def _process_bytes(hardware: Hardware, parallelism: Parallelism, data: int) -> float:
    if hardware.gpu is None:
        return 0.0
    return CUDA_PROCESS_BYTES + (COMMUNICATOR_BYTES if parallelism.tensor * parallelism.pipeline * data > 1 else 0.0)


def _graph_bytes(arch: Architecture, parallelism: Parallelism, serving: Serving, graphs: GraphCover) -> float:
    """Of piecewise graphs of every size, and full ones of the sizes that decodes alone can have."""
    full = [size for size in graphs.sizes if size <= serving.max_num_seqs]
    return (len(graphs.sizes) + len(full)) * GRAPH_LAYER_BYTES * arch.layers / parallelism.pipeline
