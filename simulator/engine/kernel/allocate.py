"""The allocation of a run's arrays, with the values that they begin with."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from simulator.engine.gap_histogram import BINS
from simulator.engine.kernel import records as rec
from simulator.engine.kernel.records import EMPTY, NEVER, PART_BITS, UNKNOWN
from simulator.pricing.step_time import StepTables
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.limits import most_idle_preemptions
from simulator.scheduler.windows import most_blocks


def new_run(config: SchedulerConfig, tables: StepTables, *, clients: int | None, gaps: bool, nodes: int, log: bool) -> Any:
    """The run's record [1]: limits, shapes of the arrays, and counters at their start. See `Replica` for the arguments."""
    run = record_array(1, rec.RUN)
    blocks, seqs, depth = config.num_gpu_blocks - 1, config.max_num_seqs, config.pipeline_parallel_size
    parts = (seqs + (1 << PART_BITS) - 1) >> PART_BITS
    caching_blocks = blocks if config.enable_prefix_caching else 0
    depth = 2 if config.async_scheduling else depth
    values = {
        "max_num_seqs": seqs, "token_budget": config.max_num_batched_tokens, "block_size": config.block_size,
        "block_shift": config.block_size.bit_length() - 1 if config.block_size & (config.block_size - 1) == 0 else -1,
        "usable_blocks": blocks, "free": blocks, "fresh_blocks": blocks, "free_nodes": caching_blocks,
        "threshold": config.long_prefill_token_threshold, "margin_blocks": int(config.watermark * config.num_gpu_blocks),
        "depth": depth, "asynchronous": config.async_scheduling, "chunked": config.enable_chunked_prefill,
        "caching": config.enable_prefix_caching, "by_priority": config.policy == "priority", "swap": config.preemption == "swap",
        "full_gate": config.scheduler_reserve_full_isl, "clients": NEVER if clients is None else clients,
        "most_idle_preemptions": most_idle_preemptions(config), "gaps": gaps, "logging": log,
        "channels": tables.channels, "stages": len(tables.stage_layers), "layers": tables.stage_layers.sum(),
        "overlap": tables.overlap, "swap_block_ns": tables.swap_block_ns, "has_beside": len(tables.beside_knots) > 0,
        "channel_request_ns": tables.channel_request_ns, "channel_token_ns": tables.channel_token_ns,
        "spread": not tables.channels and bool(tables.decode_spread_ns.any() or tables.beside_spread_ns.any()),
        "slot_places": parts << PART_BITS, "parts": parts, "node_places": nodes,
        # FCFS: newcomers pass preempted requests only while those are in flight
        "waiter_places": (depth + 1) * seqs + 1,
        "hash_entries": 1 << max(3, (2 * caching_blocks - 1).bit_length()) if caching_blocks else 1,
        "context_cells": tables.decode_base_ns.shape[1], "context_knots": len(tables.context_knots),
        "context_marks": len(tables.context_index), "chunk_knots": len(tables.chunk_knots), "chunk_marks": len(tables.chunk_index),
        "beside_knots": len(tables.beside_knots), "token_counts": tables.stage_tokens_ns.shape[1],
        "sequence_counts": tables.stage_sequences_ns.shape[1], "beside_counts": tables.beside_ns.shape[1],
    }
    for name, value in (values | _group_limits(config)).items():
        run[name] = value
    return run


def new_memory(run: Any, config: SchedulerConfig, log: tuple[int, int, int, int]) -> dict[str, Any]:
    """All other arrays, without requests, by field of `State`. `log`: steps, entries, admissions and preemptions it holds."""
    shape = shape_of(run)
    seqs, depth, channels, nodes = shape["max_num_seqs"], shape["depth"], shape["channels"], shape["node_places"]
    groups, slots = record_array(depth, rec.GROUP), record_array(seqs + 1, rec.SLOT)
    groups.next, groups.longest, slots.kind = NEVER, UNKNOWN, EMPTY
    slots[seqs].before = slots[seqs].after = seqs
    i64, blocks = np.int64, shape["free_nodes"]
    return {
        "core": rec.Core(run, groups, slots, np.arange(seqs, dtype=np.uint32), np.full((depth, shape["slot_places"]), NEVER),
                         np.full((depth, shape["parts"]), NEVER), np.zeros((depth, shape["block_size"]), np.int32),
                         np.zeros(seqs, np.uint32), _windows(config), np.zeros((depth, shape["block_size"]), np.int32),
                         np.zeros((seqs + 1, shape["window_kinds"]), np.int32)),
        "flights": rec.Flights(record_array(depth, rec.FLIGHT), np.zeros((depth, seqs), np.uint32),
                               np.zeros((depth, 2, channels), i64), np.zeros(channels, i64), np.zeros((depth, channels), i64),
                               np.zeros((2, channels), i64), np.zeros(shape["stages"], i64)),
        "pool": rec.Pool(record_array(blocks + 1, rec.NODE), np.arange(blocks, 0, -1, dtype=np.uint32),
                         empty_keys(shape["hash_entries"]), np.zeros((seqs if blocks else 0, nodes), np.uint32),
                         np.zeros(nodes, np.uint32), np.zeros(0, np.uint32)),
        **common_memory(shape, log),
    }


def _group_limits(config: SchedulerConfig) -> dict[str, int]:
    """Of the KV groups: those whose tables grow, blocks that states take, different windows, and the common block size."""
    growing = [group for group in config.groups if group.kind != "state"]
    return {"growing": len(growing), "fixed_blocks": (len(config.groups) - len(growing)) * (1 + config.draft_tokens),
            "window_kinds": len(_windows(config))}


def _windows(config: SchedulerConfig) -> Any:
    """The different windows and chunks of the KV groups, with how many groups have each."""
    kinds = Counter(group for group in config.groups if group.kind in ("window", "chunk"))
    windows = record_array(len(kinds), rec.WINDOW)
    for k, (group, count) in enumerate(kinds.items()):
        windows[k] = (count, group.span, group.kind == "chunk", most_blocks(group, config))
    return windows


def shape_of(run: Any) -> dict[str, Any]:
    """The fields of a run's record."""
    return dict(zip(run.dtype.names, run.tolist()[0], strict=True))


def common_memory(shape: dict[str, Any], log: tuple[int, int, int, int]) -> dict[str, Any]:
    """The parts that both kernels have."""
    i64, none64, none32 = np.int64, np.zeros(0, np.int64), np.zeros(0, np.int32)
    return {
        "requests": rec.Requests(none64, none32, none32, none32, none64, none64, none64),
        "queue": rec.Queue(np.zeros(shape["waiter_places"], np.int32), none32, none32, none32),
        "served": rec.Served(none64, none64, none64, none32, none32, none64, np.zeros(shape["token_budget"] + 1, i64),
                             np.zeros(shape["max_num_seqs"] + 1, i64), np.zeros(BINS if shape["gaps"] else 0, i64)),
        "log": rec.Log(record_array(log[0], rec.STEP), *(np.zeros((rows, columns), np.int32) for rows, columns in
                                                         zip(log[1:], (2, 3, 2), strict=True))),
    }


def empty_keys(size: int) -> Any:
    """An empty hash table of the prefix cache."""
    keys = record_array(size, rec.KEY)
    keys.identity = -1
    return keys


def table_parts(tables: StepTables) -> rec.Tables:
    """The tables as the kernel takes them."""
    return rec.Tables(
            rec.StageTables(*(getattr(tables, name) for name in rec.StageTables._fields)),
            rec.DecodeTables(tables.decode_base_ns, tables.decode_slope_ns, tables.decode_spread_ns, tables.inverse,
                             tables.context_knots, tables.context_index),
            rec.ChunkTables(tables.prefill_ns, tables.chunk_knots, tables.chunk_index, tables.per_chunk, tables.per_context,
                            tables.beside_knots, tables.beside_ns, tables.beside_spread_ns))


def record_array(size: int, dtype: np.dtype[Any]) -> Any:
    """Records whose fields are attributes too."""
    return np.zeros(size, dtype).view(np.recarray)
