"""Which compiled engine serves which limits, and the arrays that it begins with."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.engine import fast_arrays
from simulator.engine.fast_arrays import Limits, Log, Requests
from simulator.engine.fast_plain_state import Plain, new_plain
from simulator.engine.fast_pool import Pool, new_pool
from simulator.engine.fast_queues import Queues, new_queues
from simulator.inputs.errors import InputError
from simulator.pricing.lookup import StepTables, step_tables
from simulator.pricing.step import StepCosts, check_costs
from simulator.scheduler import limits
from simulator.scheduler.config import SchedulerConfig

_NO_POOL = new_pool(0, 0, 0)  # never written


def checked_tables(config: SchedulerConfig, costs: StepCosts) -> StepTables:
    """The tables as the kernels take them. Raises InputError for impossible limits or tables, and for schedulers that are
    not compiled."""
    if config.scheduler != "vllm_v1" and config.scheduler in limits.SCHEDULER_NAMES:
        raise InputError(
            f"the fast engine does not run {config.scheduler}: use simulator.engine.reference.run", key="scheduler"
        )
    limits.check_config(config)
    check_costs(config, costs)
    columns: Any = (readonly(a) if isinstance(a, np.ndarray) else a for a in step_tables(costs))
    return StepTables(*columns)


def plain_enough(bounds: Limits, requests: Requests) -> bool:
    """Whether an O(1) engine runs these limits; everything else, and every log, is for `fast_general`."""
    if bounds.by_priority or bounds.swap or not bounds.chunked or bounds.long_prefill_threshold > 0:
        return False
    if bounds.caching:  # fast_prefix: synchronous, and nobody quotes an output
        prompts = requests.prompt >> max(bounds.block_shift, 0)
        if bounds.depth > 1 or np.any(np.diff(requests.identity_offsets) > prompts):
            return False
    return (bounds.channels == 0 or bounds.depth == 1) and bounds.block_shift >= 0


def hits_need_preemption(bounds: Limits, requests: Requests) -> bool:
    """Whether prefix caching changes nothing as long as nobody is preempted: where no block of one request recurs in
    another, only a resumed request can hit a block, its own."""
    if not bounds.caching or np.any(np.diff(requests.identity_offsets) > 0):
        return False
    return plain_enough(bounds._replace(caching=False), requests)


def limits_of(config: SchedulerConfig, tables: StepTables, clients: int) -> Limits:
    """The scheduler's limits; `clients` of a closed loop, or at least as many as there are requests."""
    return Limits(
        config.max_num_seqs,
        config.max_num_batched_tokens,
        config.block_size,
        config.num_gpu_blocks - 1,
        config.max_model_len,
        config.long_prefill_token_threshold,
        int(config.watermark * config.num_gpu_blocks),
        2 if config.async_scheduling else config.pipeline_parallel_size,
        tables.channels,
        limits.most_idle_preemptions(config),
        _exact_log2(config.block_size),
        config.enable_chunked_prefill,
        config.enable_prefix_caching,
        config.policy == "priority",
        config.async_scheduling,
        config.scheduler_reserve_full_isl,
        config.preemption == "swap",
        clients,
        False,
    )


def _exact_log2(value: int) -> int:
    return value.bit_length() - 1 if value & (value - 1) == 0 else -1


def plain_for(bounds: Limits, tables: StepTables, longest_output: int) -> Plain:
    """State of an O(1) engine before the first arrival."""
    return new_plain(
        bounds.max_num_seqs,
        bounds.block_size,
        bounds.usable_blocks,
        longest_output,
        bounds.depth,
        1 if bounds.asynchronous else bounds.depth,
        len(tables.stage_layers),
        bounds.channels,
    )


def queues_for(bounds: Limits, tables: StepTables, requests: int) -> Queues:
    """State of the general engine before the first arrival."""
    return new_queues(
        requests,
        bounds.max_num_seqs,
        bounds.depth,
        len(tables.stage_layers),
        bounds.usable_blocks,
        by_priority=bounds.by_priority,
        swap=bounds.swap,
        channels=bounds.channels,
    )


def pool_for(bounds: Limits, slots: int, longest_blocks: int) -> Pool:
    """Blocks and their contents, with prefix caching, for running requests of at most `longest_blocks` known blocks."""
    if not bounds.caching:
        return _NO_POOL
    return new_pool(bounds.usable_blocks, slots, longest_blocks)


def new_log(steps: int, entries: int, admissions: int, preemptions: int) -> Log:
    """An empty step log of such size; all 0: none is kept."""
    columns: Any = [np.zeros(steps, np.int64) for _ in range(3)] + [np.zeros(steps, np.int32) for _ in range(5)]
    columns += [np.zeros(entries, np.int32) for _ in range(2)]
    columns += [np.zeros((admissions, 3), np.int32), np.zeros((preemptions, 2), np.int32)]
    return Log(*columns)


def check_end(end: int) -> None:
    """Raises RuntimeError for a run that ended without having served everybody."""
    if end == fast_arrays.LIVELOCK:
        raise RuntimeError("the scheduler is in a livelock: requests preempt each other and nobody gets a token")
    if end == fast_arrays.STUCK:
        raise RuntimeError("the scheduler leaves requests waiting for ever")


def readonly(array: Any) -> Any:
    """A view that numba takes for an array that is only read."""
    view = array.view()
    view.setflags(write=False)
    return view
