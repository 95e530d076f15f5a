"""One replica on a compiled kernel: the requests it was given, how far it has come, and its results.

A whole trace, a stream and a closed loop are the same calls: `extend` gives requests, `advance` serves until a time. All state
lies in arrays, so a copy of them is a snapshot. What can advance in lockstep runs on the `kernel`, all else on the `dense` one.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from simulator.engine.dense import advance as dense_kernel
from simulator.engine.dense import allocate as dense_memory
from simulator.engine.dense.records import State as DenseState
from simulator.engine.kernel import advance as kernel
from simulator.engine.kernel import allocate as kernel_memory
from simulator.engine.kernel.records import EMPTY, NEVER, SLOT_BITS, STEP, TOTALS, Requests, State
from simulator.engine.result import EngineResult, StepLog
from simulator.inputs.errors import InputError
from simulator.pricing.step import StepCosts, check_costs
from simulator.pricing.step_time import step_tables
from simulator.scheduler import limits
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.trace import Int64

# Arrays with a value per request, and what they begin with
BY_REQUEST = {"verified": 0, "proposals": 0, "done": 0, "due": 0, "swapped": 0, "own_run": 0, "first_scheduled_ns": -1,
              "first_token_ns": -1, "finish_ns": -1, "preemptions": 0, "cached_tokens": 0, "last_token_ns": 0}
_ONLY_WITH = {"verified": "recorded", "proposals": "recorded", "swapped": "swap", "own_run": "caching", "last_token_ns": "gaps"}


def is_dense(config: SchedulerConfig) -> bool:
    """Whether a configuration runs on the dense kernel: in lockstep go KV groups of one block size without a prefix cache."""
    sizes = {group.block_size for group in config.kv_groups if group.kind != "state"}
    short_states = any(group.kind == "state" and group.block_size < config.max_model_len for group in config.kv_groups)
    in_step = sizes == {config.block_size} and not (short_states or config.enable_prefix_caching)
    return bool(config.speculation or (config.kv_groups and not (in_step and config.pipeline_parallel_size == 1)))


class Replica:
    """A run under way.

    clients: of a closed loop; None: an open one. gaps: count the gaps between tokens. nodes: most leading blocks of a request that
    others may have too (prefix caching; see `leading_nodes`). log: room for the step log, from `log_sizes` of an equal run. dense:
    which kernel to use, where not that which serves the configuration best.
    Raises InputError for impossible limits or tables, and for schedulers that the kernel does not know.
    """

    def __init__(self, config: SchedulerConfig, costs: StepCosts, *, clients: int | None = None, gaps: bool = False, nodes: int = 0,
                 log: tuple[int, int, int, int] | None = None, dense: bool | None = None) -> None:  # fmt: skip
        if config.scheduler != "vllm_v1" and config.scheduler in limits.SCHEDULER_NAMES:
            raise InputError(f"the compiled kernel does not run {config.scheduler}: use the reference engine", key="scheduler")
        limits.check_config(config)
        check_costs(config, costs)
        if config.max_num_seqs >= 1 << SLOT_BITS:
            raise InputError(f"must be below {1 << SLOT_BITS}", key="max_num_seqs")
        tables = step_tables(costs)
        self._config, self._dense = config, is_dense(config) if dense is None else dense
        self._dense |= log is not None and bool(config.kv_groups)  # whose log says what each group holds
        run = kernel_memory.new_run(config, tables, clients=clients, gaps=gaps, nodes=nodes, log=log is not None)
        sizes = log or (0, 0, 0, 0)
        self._memory: dict[str, Any]
        self._tables: Any
        if self._dense:
            self._memory, self._tables = dense_memory.new_memory(run, config, sizes), dense_memory.dense_tables(tables)
        else:
            self._memory, self._tables = kernel_memory.new_memory(run, config, sizes), kernel_memory.table_parts(tables)

    def __getattr__(self, name: str) -> Any:
        """The parts of the memory: see `kernel.records` and `dense.records`."""
        if name in DenseState._fields:
            return self._memory[name]
        raise AttributeError(name)

    @property
    def run(self) -> Any:
        """Limits, counters and totals (`records.RUN`)."""
        return self.core.run[0]

    def extend(self, requests: Requests, numbers: Int64 | None = None) -> None:
        """Puts requests behind those given so far; all must arrive at or after the time that `advance` has reached. `numbers`:
        their places in the trace, where not counted from those given so far (drafts are accepted by them)."""
        run, more = self.run, len(requests.arrival_ns)
        if self._dense and run.draft_tokens:
            numbers = run.requests + np.arange(more) if numbers is None else numbers
            self._memory["drafts"] = dense_memory.extended(self.drafts, self._config, numbers)
        if run.requests:
            joined = {name: np.concatenate([getattr(self.requests, name), getattr(requests, name)]) for name in Requests._fields}
            offsets = self.requests.identity_offsets[:-1], requests.identity_offsets + len(self.requests.shared)
            requests = Requests(**joined)._replace(identity_offsets=np.concatenate(offsets))
        self._memory["requests"] = requests
        run.requests += more
        if run.caching:  # a generated block can be hit: by those that quote it or, by priority, by its own request
            recurring, prompts = np.diff(requests.identity_offsets), requests.prompt // run.block_size
            run.outputs_recur |= bool(run.by_priority or np.any(recurring > prompts))
        self._resize(lambda column, fill: np.concatenate([column, np.full(more, fill, column.dtype)]) if len(column) else
                     _filled(int(run.requests), fill, column.dtype))
        if run.by_priority:
            run.waiter_places += more
            self._memory["queue"] = self.queue._replace(waiters=np.concatenate([self.queue.waiters, np.zeros(more, np.int32)]))

    def advance(self, until_ns: int = NEVER) -> bool:
        """Serves until every given request is finished, or stops before the first decision at or after `until_ns`. Returns whether
        every one is. Raises RuntimeError where the scheduler cannot go on."""
        if self._dense:
            end = dense_kernel.call(until_ns, DenseState(**self._memory), self._tables)
        else:
            end = kernel.call(until_ns, State(**self._memory), self._tables)
        if end == kernel.LIVELOCK:
            raise RuntimeError("the scheduler is in a livelock: requests preempt each other and nobody gets a token")
        if end == kernel.STUCK:
            raise RuntimeError("deadlock: no waiting request can be scheduled")
        return end == kernel.FINISHED

    def snapshot(self) -> dict[str, Any]:
        """A copy of the state, for `restore`."""
        return copy.deepcopy(self._memory)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes back to a snapshot of this run, or of one with equal limits and tables."""
        self._memory = copy.deepcopy(snapshot)

    def under_way(self) -> Int64:
        """Requests, ascending, that the scheduler still refers to: those queued, running or not yet arrived."""
        run = self.run
        named = self.core.slots.request[self._used_slots()], self.queue.waiters[: run.stack], np.arange(run.head, run.requests)
        return np.unique(np.concatenate(named).astype(np.int64))

    def keep(self, kept: Int64) -> None:
        """Forgets all requests but those `under_way`, which are numbered anew in the same order."""
        run, used, slots, waiters = self.run, self._used_slots(), self.core.slots, self.queue.waiters[: self.run.stack]
        slots.request[used] = np.searchsorted(kept, slots.request[used])
        waiters[:] = np.searchsorted(kept, waiters)
        self._resize(lambda column, fill: column[kept])
        if self._dense:
            dense_memory.renumber(self._memory, kept)
        else:
            owned = np.flatnonzero(self.pool.own_run)
            self.pool.nodes.owner[self.pool.own_run[owned]] = owned + 1
        run.head, run.joined, run.requests = np.searchsorted(kept, run.head), np.searchsorted(kept, run.joined), len(kept)
        requests = self.requests
        lengths = np.diff(requests.identity_offsets)
        columns = {name: column[kept] for name, column in requests._asdict().items() if len(column) and name != "shared"}
        if len(lengths):
            columns["shared"] = requests.shared[np.repeat(np.isin(np.arange(len(lengths)), kept), lengths)]
            columns["identity_offsets"] = np.concatenate([[0], np.cumsum(lengths[kept])])
        self._memory["requests"] = requests._replace(**columns)

    def result(self) -> EngineResult:
        """Times of the given requests and totals so far."""
        run, served = self.run, self.served
        totals = {name: int(run[name]) for name in TOTALS}
        totals["used_block_ns"] += int(run.last_used * (run.last_end_ns - run.last_start_ns))
        steps, makespan_ns, *others = totals.values()
        fields: Any = [*served[:5], steps, makespan_ns, served.by_tokens, served.by_sequences, *others,
                       self._step_log() if run.logging else None, served.gaps if run.gaps else None,
                       int(run.checked), int(run.accepted), int(run.draft_ns)]
        return EngineResult(*fields)

    def log_sizes(self) -> tuple[int, int, int, int]:
        """Steps, entries, admissions and preemptions so far: the room that a step log needs."""
        run = self.run
        return int(run.steps), int(run.logged_entries), int(run.logged_admissions), int(run.preemptions)

    def _step_log(self) -> StepLog:
        log = self.log
        columns: Any = [np.ascontiguousarray(log.steps[name]) for name in STEP.names or ()]
        names = log.batch.dtype.names
        batch: Any = [np.ascontiguousarray(log.batch[name]) for name in names] if names else list(log.batch.T.copy())
        extras: Any = [*batch[2:], log.held] if self._config.kv_groups or self._config.speculation else []
        made: Any = (*columns, *batch[:2], log.admissions, log.preempted, *extras)
        return StepLog(*made)

    def _resize(self, change: Any) -> None:
        """Changes every array with a value per request."""
        run = self.run
        for part in ("queue", "served", "pool", "drafts") if self._dense else ("queue", "served", "pool"):
            arrays = self._memory[part]
            names = [name for name in arrays._fields if name in BY_REQUEST and run[_ONLY_WITH.get(name, "depth")]]
            self._memory[part] = arrays._replace(**{name: change(getattr(arrays, name), BY_REQUEST[name]) for name in names})

    def _used_slots(self) -> Any:
        if self._dense:
            return self.core.order[: self.run.running].astype(np.int64)
        return np.flatnonzero(self.core.slots.kind != EMPTY)


def _filled(size: int, fill: int, dtype: Any) -> Any:
    return np.full(size, fill, dtype) if fill else np.zeros(size, dtype)
