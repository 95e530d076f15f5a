"""One replica on the compiled kernel: its memory, its requests, how far it has come, what came out.

Streams, closed loops and a whole trace are the same calls: `extend` gives requests, `advance` serves until a time. A copy of the
arrays is a snapshot.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from simulator.costs.lookup import StepTables, step_tables
from simulator.costs.step import StepCosts
from simulator.engine.kernel import advance as kernel
from simulator.engine.kernel.records import (
    EMPTY,
    FLIGHT,
    GROUP,
    KEY,
    NEVER,
    NODE,
    PART_BITS,
    RUN,
    SLOT,
    SLOT_BITS,
    STEP,
    TOTALS,
    UNKNOWN,
    ChunkTables,
    Core,
    DecodeTables,
    Flights,
    Log,
    Pool,
    Queue,
    Requests,
    Served,
    StageTables,
)
from simulator.inputs.errors import InputError
from simulator.results.gaps import BINS
from simulator.serving import limits
from simulator.serving.config import EngineResult, SchedulerConfig, StepLog

BY_REQUEST = ("done", "due", "swapped", "own_run", "first_scheduled_ns", "first_token_ns", "finish_ns", "preemptions",
              "cached_tokens", "last_token_ns")
_MOST_SLOTS = 1 << SLOT_BITS


class Replica:
    """A run under way. `clients`: of a closed loop (None: open). `nodes`: leading blocks of a request that others may have too, at
    most (prefix caching). `log`: sizes of the step log, from the totals of an equal run; None: none is kept.

    Raises InputError for impossible limits or tables, and for schedulers that the kernel does not know.
    """

    def __init__(
        self, config: SchedulerConfig, costs: StepCosts, *, clients: int | None = None, gaps: bool = False, nodes: int = 0,
        log: tuple[int, int, int, int] | None = None
    ) -> None:
        _check(config, costs)
        tables = step_tables(costs)
        self.run = _record_array(1, RUN)
        run = self.run[0]
        _set_limits(run, config, tables, clients, gaps=gaps, log=log is not None)
        self._config = config
        stages = StageTables(*(getattr(tables, name) for name in StageTables._fields))
        decodes = DecodeTables(tables.decode_base_ns, tables.decode_slope_ns, tables.decode_spread_ns, tables.inverse,
                               tables.context_knots, tables.context_index)
        chunks = ChunkTables(tables.prefill_ns, tables.chunk_knots, tables.chunk_index, tables.per_chunk, tables.per_context,
                             tables.beside_knots, tables.beside_ns, tables.beside_spread_ns)
        run.context_cells, run.context_knots, run.context_marks = (
            tables.decode_base_ns.shape[1], len(tables.context_knots), len(tables.context_index))
        run.chunk_knots, run.chunk_marks, run.beside_knots = (
            len(tables.chunk_knots), len(tables.chunk_index), len(tables.beside_knots))
        run.token_counts, run.sequence_counts = tables.stage_tokens_ns.shape[1], tables.stage_sequences_ns.shape[1]
        if tables.beside_ns.shape[1] != run.sequence_counts and len(tables.beside_knots):
            chunks = chunks._replace(beside_ns=np.ascontiguousarray(tables.beside_ns[:, : run.sequence_counts]))
        self.core, self.flights = _running(run), _flights(run)
        self.core = self.core._replace(run=self.run)
        self.pool = _pool(run, nodes)
        self.log = _log(*(log or (0, 0, 0, 0)))
        self.requests = Requests(*(np.zeros(0, dtype) for dtype in (np.int64, np.int32, np.int32, np.int32, np.int64, np.int64,
                                                                    np.int64)))
        self.queue = Queue(np.zeros(int(run.waiter_places), np.int32), *(np.zeros(0, np.int32) for _ in range(3)))
        none64, none32 = np.zeros(0, np.int64), np.zeros(0, np.int32)
        self.served = Served(none64, none64, none64, none32, none32, none64, np.zeros(config.max_num_batched_tokens + 1, np.int64),
                             np.zeros(config.max_num_seqs + 1, np.int64), np.zeros(BINS if gaps else 0, np.int64))
        self._tables = stages, decodes, chunks

    def extend(self, requests: Requests) -> None:
        """Puts requests behind those given so far. With prefix caching `identity_offsets` are of all of them."""
        run, n = self.run[0], len(requests.arrival_ns)
        before = int(run.requests)
        if before:
            joined = [np.concatenate([a, b]) for a, b in zip(self.requests, requests, strict=True)]
            requests = Requests(*joined)
        self.requests = requests
        run.requests = before + n
        sizes = {"swapped": run.swap, "own_run": run.caching, "last_token_ns": run.gaps}
        for part in ("queue", "served", "pool"):
            arrays = getattr(self, part)
            new = {}
            for name in BY_REQUEST:
                if name in arrays._fields and sizes.get(name, True):
                    fill = -1 if name in ("first_scheduled_ns", "first_token_ns", "finish_ns") else 0
                    new[name] = _longer(getattr(arrays, name), before + n, fill)
            setattr(self, part, arrays._replace(**new))
        if run.by_priority:
            run.waiter_places += n
            waiters = np.zeros(int(run.waiter_places), np.int32)
            waiters[: run.stack] = self.queue.waiters[: run.stack]
            self.queue = self.queue._replace(waiters=waiters)

    def advance(self, until_ns: int = NEVER) -> bool:
        """Serves until every given request is finished, or stops before the first decision at or after `until_ns`. Returns
        whether every one is. Raises RuntimeError where the scheduler cannot go on."""
        end = kernel.call(until_ns, self._parts())
        if end == kernel.LIVELOCK:
            raise RuntimeError("the scheduler is in a livelock: requests preempt each other and nobody gets a token")
        if end == kernel.STUCK:
            raise RuntimeError("deadlock: no waiting request can be scheduled")
        return end == kernel.FINISHED

    def snapshot(self) -> Any:
        """A copy of the state, for `restore`."""
        return copy.deepcopy((self.core, self.requests, self.queue, self.flights, self.served, self.pool, self.log))

    def restore(self, snapshot: Any) -> None:
        """Goes back to a snapshot, of this run or of one with equal limits and tables."""
        self.core, self.requests, self.queue, self.flights, self.served, self.pool, self.log = copy.deepcopy(snapshot)
        self.run = self.core.run

    def result(self) -> EngineResult:
        """Times of the given requests and totals so far."""
        run, served = self.run[0], self.served
        totals = {name: int(run[name]) for name in TOTALS}
        totals["used_block_ns"] += int(run.last_used * (run.last_end_ns - run.last_start_ns))
        steps, makespan_ns, *others = totals.values()
        return EngineResult(
            served.first_scheduled_ns, served.first_token_ns, served.finish_ns, served.preemptions, served.cached_tokens,
            steps, makespan_ns, served.by_tokens, served.by_sequences, *others,
            self._step_log() if run.logging else None, served.gaps if run.gaps else None)

    def log_sizes(self) -> tuple[int, int, int, int]:
        """Steps, entries, admissions and preemptions so far: the size of a log."""
        run = self.run[0]
        return int(run.steps), int(run.logged_entries), int(run.logged_admissions), int(run.preemptions)

    def _parts(self) -> tuple[Any, ...]:
        return (self.core, self.requests, self.queue, self.flights, self.served, self.pool, self.log, *self._tables)

    def _step_log(self) -> StepLog:
        steps, log = self.log.steps, self.log
        columns: Any = [np.ascontiguousarray(steps[name]) for name in STEP.names or ()]
        return StepLog(*columns, log.batch[:, 0].copy(), log.batch[:, 1].copy(), log.admissions, log.preempted)


def _check(config: SchedulerConfig, costs: StepCosts) -> None:
    if config.scheduler != "vllm_v1" and config.scheduler in limits.SCHEDULER_NAMES:
        raise InputError(f"the kernel does not run {config.scheduler}: use the reference engine", key="scheduler")
    limits.check_config(config)
    limits.check_costs(config, costs)
    if config.max_num_seqs >= _MOST_SLOTS:
        raise InputError(f"must be below {_MOST_SLOTS}", key="max_num_seqs")


def _set_limits(
    run: Any, config: SchedulerConfig, tables: StepTables, clients: int | None, *, gaps: bool, log: bool
) -> None:
    """Writes what does not change while a run is under way."""
    run.max_num_seqs, run.token_budget, run.block_size = config.max_num_seqs, config.max_num_batched_tokens, config.block_size
    run.usable_blocks = run.free = run.fresh_blocks = config.num_gpu_blocks - 1
    run.threshold, run.margin_blocks = config.long_prefill_token_threshold, int(config.watermark * config.num_gpu_blocks)
    run.depth = 2 if config.async_scheduling else config.pipeline_parallel_size
    run.asynchronous, run.chunked, run.caching = config.async_scheduling, config.enable_chunked_prefill, config.enable_prefix_caching
    run.by_priority, run.swap = config.policy == "priority", config.preemption == "swap"
    run.full_gate, run.clients = config.scheduler_reserve_full_isl, NEVER if clients is None else clients
    run.most_idle_preemptions = limits.most_idle_preemptions(config)
    run.channels, run.stages, run.layers = tables.channels, len(tables.stage_layers), tables.stage_layers.sum()
    run.overlap, run.swap_block_ns = tables.overlap, tables.swap_block_ns
    run.channel_request_ns, run.channel_token_ns = tables.channel_request_ns, tables.channel_token_ns
    run.has_beside = len(tables.beside_knots) > 0
    run.spread = not tables.channels and bool(tables.decode_spread_ns.any() or tables.beside_spread_ns.any())
    run.gaps, run.logging = gaps, log
    run.block_shift = config.block_size.bit_length() - 1 if config.block_size & (config.block_size - 1) == 0 else -1
    run.parts = (config.max_num_seqs + (1 << PART_BITS) - 1) >> PART_BITS
    run.slot_places = run.parts << PART_BITS
    run.waiter_places = (run.depth + 1) * config.max_num_seqs + 1  # FCFS: newcomers pass preempted requests only while in flight


def _running(run: Any) -> Core:
    """No request runs."""
    seqs, groups = int(run.max_num_seqs), _record_array(int(run.depth), GROUP)
    groups.next, groups.longest = NEVER, UNKNOWN
    slots = _record_array(seqs + 1, SLOT)
    slots.kind = EMPTY
    slots[seqs].before = slots[seqs].after = seqs
    return Core(run, groups, slots, np.arange(seqs, dtype=np.uint32), np.full((int(run.depth), int(run.slot_places)), NEVER, np.int64),
                np.full((int(run.depth), int(run.parts)), NEVER, np.int64), np.zeros((int(run.depth), int(run.block_size)), np.int32),
                np.zeros(seqs, np.uint32))


def _flights(run: Any) -> Flights:
    depth, channels = int(run.depth), int(run.channels)
    return Flights(_record_array(depth, FLIGHT), np.zeros((depth, int(run.max_num_seqs)), np.uint32),
                   np.zeros((depth, 2, channels), np.int64), np.zeros(channels, np.int64), np.zeros((depth, channels), np.int64),
                   np.zeros((2, channels), np.int64), np.zeros(int(run.stages), np.int64))


def _pool(run: Any, leading: int) -> Pool:
    """An empty prefix cache, for requests of at most `leading` blocks that are nodes."""
    blocks = int(run.usable_blocks) if run.caching else 0
    nodes = _record_array(blocks + 1, NODE)
    keys = _record_array(1 << max(3, (2 * blocks - 1).bit_length()) if blocks else 1, KEY)
    keys.identity = -1
    run.hash_entries, run.free_nodes, run.node_places = len(keys), blocks, leading
    return Pool(nodes, np.arange(blocks, 0, -1, dtype=np.uint32), keys,
                np.zeros((int(run.max_num_seqs) if run.caching else 0, leading), np.uint32), np.zeros(leading, np.uint32),
                np.zeros(0, np.uint32))


def _log(steps: int, entries: int, admissions: int, preemptions: int) -> Log:
    return Log(_record_array(steps, STEP), np.zeros((entries, 2), np.int32), np.zeros((admissions, 3), np.int32),
               np.zeros((preemptions, 2), np.int32))


def _record_array(size: int, dtype: np.dtype[Any]) -> Any:
    return np.zeros(size, dtype).view(np.recarray)


def _longer(column: Any, size: int, fill: int) -> Any:
    longer = np.full(size, fill, column.dtype) if fill else np.zeros(size, column.dtype)
    longer[: len(column)] = column
    return longer
