"""Attention data parallelism in plain Python: engines that share one set of experts and step together, as in vLLM.

Every engine has its own scheduler, KV cache and share of the requests; in every decoder block their rows meet at the
experts. So all engines step together (an engine without work runs a dummy batch), and the slowest one counts:

    time of a step = max over engines of their own operators + experts and exchange at the rows of all engines

With CUDA graphs on, either all engines run the size of the largest (when every engine's batch has a captured size) or
each its own rows (vllm/v1/worker/dp_utils.py). A request goes to the engine with the smallest 4 x waiting + running, as
the front end last heard, every PUBLISHED_NS, plus what it has sent since (v1/engine/core_client.py, DPLBAsyncMPClient).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from simulator.engine.batch_time import StepTime, step_time
from simulator.engine.record import Recorder
from simulator.engine.result import EngineResult
from simulator.pricing.step import StepCosts, check_costs
from simulator.pricing.step_time import StepTables, step_tables
from simulator.scheduler import limits
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_cache import hash_unit
from simulator.scheduler.requests import Batch, Request
from simulator.scheduler.scheduler import Scheduler
from simulator.workload.block_identities import block_identities
from simulator.workload.trace import Int64, Trace

PUBLISHED_NS = 100_000_000  # v1/engine/coordinator.py: min_stats_update_interval_ms = 100
WAITING_WEIGHT = 4  # core_client.py: score = waiting * 4 + running


@dataclass
class Engines:
    """The schedulers of a group, and what `Record` reads of a scheduler: sums over the group."""

    parts: list[Scheduler]
    known: list[list[int]] = field(default_factory=list)  # [waiting, running] of each engine, as the front end has them
    known_at: int = -1  # of how many published intervals

    def enqueue(self, request: Request) -> None:
        """Sends a request to the engine that the front end takes for the least loaded."""
        interval = request.arrival_ns // PUBLISHED_NS
        if interval > self.known_at:
            self.known, self.known_at = [[len(part.waiting), len(part.running)] for part in self.parts], interval
        scores = [WAITING_WEIGHT * waiting + running for waiting, running in self.known]
        chosen = scores.index(min(scores))
        self.known[chosen][0] += 1
        self.parts[chosen].enqueue(request)

    @property
    def waiting(self) -> list[Request]:
        return [request for part in self.parts for request in part.waiting]

    @property
    def running(self) -> list[Request]:
        return [request for part in self.parts for request in part.running]

    @property
    def pool(self) -> Engines:
        return self

    def held(self) -> list[int]:
        return [sum(of_group) for of_group in zip(*(part.held() for part in self.parts), strict=True)]

    @property
    def users(self) -> range:
        return range(sum(len(part.pool.users) for part in self.parts))

    @property
    def free(self) -> int:
        return sum(part.pool.free for part in self.parts)


def run(trace: Trace, config: SchedulerConfig, costs: StepCosts, gathered_ns: Int64, engines: int,
        capture_sizes: Sequence[int] = (), *, log: bool = False) -> EngineResult:
    """Serves `trace` on `engines` engines of `config` each. costs, gathered_ns: `pricing.price(..., data=engines)`.

    The log's entries are those of all engines in turn. Raises InputError as `reference.run`; open loops on one pipeline
    stage only.
    """
    limits.check_config(config)
    check_costs(config, costs)
    limits.check_trace(trace)
    assert config.pipeline_parallel_size == 1 and not trace.concurrency
    tables = step_tables(costs)
    outputs = limits.served_outputs(trace, config)
    identities = block_identities(trace, outputs, hash_unit(config)) if config.enable_prefix_caching else None
    priorities = [0] * len(trace) if trace.priority is None else trace.priority.tolist()
    requests = [Request(*columns) for columns in zip(
        range(len(trace)), trace.arrival_ns.tolist(), trace.prompt_tokens.tolist(), outputs.tolist(), priorities, strict=True)]
    arrivals = deque(request for request in requests if request.wanted)
    group = Engines([Scheduler(config, identities) for _ in range(engines)])
    whole = replace(config, max_num_batched_tokens=config.max_num_batched_tokens * engines,
                    max_num_seqs=config.max_num_seqs * engines)
    record = Recorder(len(trace), whole, log, gaps=False)
    depth = 2 if config.async_scheduling else 1
    in_flight: deque[tuple[Batch, list[Batch]]] = deque()
    clock = device_free = 0
    while True:
        while arrivals and arrivals[0].arrival_ns <= clock:
            group.enqueue(arrivals.popleft())
        if any(part.running or part.waiting for part in group.parts):
            batches = [part.schedule() for part in group.parts]
            step, decided = _together(batches), clock
            start = step.end_ns = max(clock, device_free)
            time = None
            if step.entries:
                time = _time(batches, tables, gathered_ns, capture_sizes)
                clock += time.host_ns
                start = max(clock, device_free)
                step.end_ns = device_free = start + time.stage_ns[0]
            if step.entries or step.preempted:
                record.step(step, group, decided, start, time)  # type: ignore[arg-type]
            in_flight.append((step, batches))
            if len(in_flight) < depth:
                continue
        if any(step.entries or step.preempted for step, _ in in_flight):
            step, batches = in_flight.popleft()
            clock = max(clock, step.end_ns)
            for part, batch in zip(group.parts, batches, strict=True):
                record.tokens_out(part.deliver(batch), step.end_ns)
        elif arrivals:
            in_flight.clear()
            clock = max(clock, arrivals[0].arrival_ns)
        elif any(part.running or part.waiting for part in group.parts):
            raise RuntimeError("a scheduler leaves requests waiting for ever")
        else:
            return record.result(requests)


def _together(batches: Sequence[Batch]) -> Batch:
    return Batch([e for b in batches for e in b.entries], [r for b in batches for r in b.admitted],
                 [r for b in batches for r in b.preempted])


def rows_of(tokens: Sequence[int], capture_sizes: Sequence[int]) -> list[int]:
    """Rows that each engine runs with when their batches hold so many tokens; an idle engine has one dummy token."""
    padded = [next((size for size in capture_sizes if size >= max(count, 1)), 0) for count in tokens]
    if all(padded):
        return [max(padded)] * len(tokens)
    return [size or max(count, 1) for size, count in zip(padded, tokens, strict=True)]


def _time(batches: Sequence[Batch], tables: StepTables, gathered_ns: Int64, capture_sizes: Sequence[int]) -> StepTime:
    parts = [step_time(batch.entries, tables) for batch in batches]
    rows = rows_of([part.tokens for part in parts], capture_sizes)
    # an engine's own price at the rows that it runs with, instead of those of its batch alone
    own = [int(part.stage_ns[0] + sum(int(table[count] - table[part.tokens])
                                      for table in (tables.linear_ns, tables.stage_tokens_ns[0])))
           for part, count in zip(parts, rows, strict=True)]
    shared = int(gathered_ns[sum(rows)])
    sums = {name: sum(getattr(part, name) for part in parts) for name in (
        "decode_ns", "prefill_ns", "tokens", "decodes", "decode_context", "chunks", "chunk_tokens", "chunk_context",
        "chunk_pairs")}
    return StepTime(host_ns=max(part.host_ns for part in parts), stage_ns=[max(own) + shared],
                    blocks_ns=max(part.blocks_ns for part in parts) + shared, **sums)


