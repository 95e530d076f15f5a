"""The reference engine: it serves a trace through a scheduler, step by step, in plain Python.

The loop; D batches may be in flight: 1 synchronous, 2 with async scheduling, one per pipeline stage:

1. Hand over every request that has arrived (closed loop: as many as there are clients that wait for nothing).
2. Decide a batch. Its host time passes on the engine's clock; the batch starts when that is over and the first
   stage is free; each stage starts when its predecessor has finished the batch and it has finished the previous one.
3. With fewer than D batches in flight decide again; otherwise wait for the oldest and deliver its tokens.

A decision without tokens takes no time, neither on the host nor on the device, but it takes a place among the D.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from simulator.engine.batch_time import StepTime, step_time
from simulator.engine.record import Recorder
from simulator.engine.result import EngineResult
from simulator.pricing.step import StepCosts, check_costs
from simulator.pricing.step_time import StepTables, step_tables
from simulator.scheduler import limits
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_cache import hash_unit
from simulator.scheduler.policies.registry import SCHEDULERS
from simulator.scheduler.requests import Batch, Entry, Request
from simulator.scheduler.scheduler import Scheduler
from simulator.workload.block_identities import BlockIdentities, block_identities
from simulator.workload.trace import Trace

Pricer = Callable[[Sequence[Entry], StepTables, int], StepTime]
SchedulerFactory = Callable[[SchedulerConfig, BlockIdentities | None, int], Scheduler]


def run(
    trace: Trace,
    config: SchedulerConfig,
    costs: StepCosts,
    *,
    scheduler: SchedulerFactory | None = None,
    pricer: Pricer = step_time,
    log: bool = False,
    gaps: bool = False,
) -> EngineResult:
    """Serves `trace` and returns when every request was finished or rejected.

    `scheduler`: a `Scheduler` subclass of your own; otherwise the one that `config.scheduler` names. `pricer`: your own
    price of a batch, where the tables of `costs` cannot say it. `log` keeps every step, `gaps` counts the gaps between
    tokens. Rejected requests (see `limits.served_outputs`) have times of -1. Raises InputError for impossible limits,
    tables or traces, and RuntimeError when a scheduler leaves requests waiting for ever or in a livelock (see
    `limits.most_idle_preemptions`).
    """
    limits.check_config(config)
    check_costs(config, costs)
    limits.check_trace(trace)
    tables = step_tables(costs)
    outputs = limits.served_outputs(trace, config)
    identities = block_identities(trace, outputs, hash_unit(config)) if config.enable_prefix_caching else None
    priorities = [0] * len(trace) if trace.priority is None else trace.priority.tolist()
    requests = [Request(*columns) for columns in zip(
        range(len(trace)), trace.arrival_ns.tolist(), trace.prompt_tokens.tolist(), outputs.tolist(), priorities,
        strict=True)]
    arrivals = deque(request for request in requests if request.wanted)
    chosen = (scheduler or SCHEDULERS[config.scheduler])(config, identities, tables.channels)
    record = Recorder(len(trace), config, log, gaps)

    depth = 2 if config.async_scheduling else config.pipeline_parallel_size
    in_flight: deque[Batch] = deque()
    stage_free = [0] * config.pipeline_parallel_size
    clock = 0
    clients = trace.concurrency or len(trace)  # of a closed loop, those that wait for nothing
    while True:
        while arrivals and arrivals[0].arrival_ns <= clock and clients:
            chosen.enqueue(arrivals.popleft())
            clients -= 1

        if chosen.running or chosen.waiting:
            batch, decided = chosen.schedule(), clock
            start = batch.end_ns = max(clock, stage_free[-1])
            time = None
            if batch.entries:
                time = pricer(batch.entries, tables, chosen.swapped_blocks)
                chosen.swapped_blocks = 0
                clock += time.host_ns
                start = end = max(clock, stage_free[0])
                for stage, duration in enumerate(time.stage_ns):
                    end = stage_free[stage] = max(end, stage_free[stage]) + duration
                batch.end_ns = end
            if batch.entries or batch.preempted:
                record.step(batch, chosen, decided, start, time)
            in_flight.append(batch)
            if len(in_flight) < depth:
                continue

        if any(batch.entries or batch.preempted for batch in in_flight):
            oldest = in_flight.popleft()
            clock = max(clock, oldest.end_ns)
            receivers = chosen.deliver(oldest)
            record.tokens_out(receivers, oldest.end_ns)
            clients += sum(request.outputs == request.wanted for request in receivers)
        elif arrivals and clients:
            in_flight.clear()
            clock = max(clock, arrivals[0].arrival_ns)
        elif chosen.running or chosen.waiting:
            raise RuntimeError(f"the scheduler leaves {len(chosen.waiting)} requests waiting for ever")
        else:
            return record.result(requests)
