"""The evaluator of traces too long to keep: `simulate`'s metrics, in memory that does not grow with the trace.

Requests are drawn or read a piece at a time, served in one continuous run of the engine (`engine.stream`), and counted
when they are through (`results.tally`). The schedule is the one of `simulate`, bit for bit; percentiles are read off
histograms. Memory holds a piece, and the requests under way: a queue that grows without end still grows in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from simulator.design.design import Design
from simulator.engine.result import EngineResult
from simulator.engine.stream import Stream
from simulator.inputs.errors import InputError
from simulator.prepare import prepare, rejection
from simulator.pricing.cache import CostCache
from simulator.pricing.price import PricedDesign
from simulator.result import Infeasible, Replica, Result, Violation
from simulator.results.breakdown import operator_totals
from simulator.results.metric_plugins import metric_plugins
from simulator.results.summary import RequestTotals, metrics_of
from simulator.results.tally import Tally
from simulator.scheduler.policies.registry import COMPILED
from simulator.workload.pieces import PIECE, exceeds, has_contents, pieces_of
from simulator.workload.trace import Trace

LONGEST_KEPT = 1_000_000  # requests: above, `python -m simulator run` streams


def refusal(design: Design) -> InputError | None:
    """Why the design's workload cannot be streamed: None where it can."""
    workload = design.workload
    if design.serving.scheduler not in COMPILED:
        return InputError(f"{design.serving.scheduler} runs on the reference engine, which is not streamed",
                          key="serving.scheduler")
    if workload.concurrency is not None:
        return InputError("a closed loop is not streamed", key="workload.concurrency")
    if workload.replicates is not None and workload.trace is not None:
        return InputError("a recorded trace is not streamed several times", key="workload.replicates")
    if design.serving.enable_prefix_caching and has_contents(workload):
        return InputError("prefix caching of prompts with token ids is not streamed", key="serving.enable_prefix_caching")
    if metric_plugins():
        return InputError(f"metric plug-in '{next(iter(metric_plugins()))}' may read every request")
    return None


def simulate_streamed(design: Design, *, cache: CostCache | None = None, piece: int = PIECE) -> Result:
    """Serves the design's workload and measures it; the result has no values by request.

    piece: requests read at a time. Raises Infeasible where the design cannot serve at all, InputError where the workload
    cannot be read or streamed.
    """
    priced, refused = prepare(design, cache or CostCache()), refusal(design)
    if refused is not None:
        raise InputError(f"{refused.message}: `simulate` keeps every request, and workload.requests says how many", key=refused.key)
    return _served(design, priced, piece)


def _served(design: Design, priced: PricedDesign, piece: int) -> Result:
    tally = Tally(design.slo.ttft_s, design.slo.tpot_s, design.slo.e2e_s)
    streams: list[Stream] = []
    starts_ns: list[int] = []
    last_arrival_ns = 0
    requests = prompt_tokens = 0
    for trace, more in _with_more(pieces_of(design.workload, piece)):
        if not streams:
            replicas = min(design.parallelism.replicas, len(trace))
            streams = [Stream(priced.scheduler, priced.costs, gaps=True) for _ in range(replicas)]
            starts_ns = trace.arrival_ns[:replicas].tolist()
        for replica, stream in enumerate(streams):
            tally.add(stream.feed(_dealt(trace, (replica - requests) % len(streams), len(streams)), more=more))
        requests += len(trace)
        last_arrival_ns = int(trace.arrival_ns[-1])
        prompt_tokens += int(trace.prompt_tokens.sum(dtype=np.int64))
    if not tally.finished:
        raise Infeasible([Violation("kv_fit", 1.0, "no request of the trace fits the KV cache or max_model_len")])
    if too_many := rejection(design, requests - tally.finished, requests):
        raise Infeasible([too_many])
    runs = [stream.result() for stream in streams]
    gap_counts = np.sum([run.gap_counts for run in runs if run.gap_counts is not None], axis=0)
    totals = RequestTotals(tally.latency(requests, gap_counts), requests, prompt_tokens, tally.prompt_tokens,
                           tally.output_tokens, tally.cached_tokens, tally.preemptions, min(starts_ns), last_arrival_ns,
                           tally.last_finish_ns)
    return _result(design, priced, totals, list(zip(starts_ns, runs, strict=True)))


def _result(design: Design, priced: PricedDesign, totals: RequestTotals, busy: list[tuple[int, EngineResult]]) -> Result:
    none = np.zeros(0, np.int32)
    replicas = [Replica(Trace(np.zeros(0, np.int64), none, none), run) for _, run in busy]
    done = operator_totals(priced.prices, [run for _, run in busy])
    metrics = metrics_of(design, totals, busy, done, priced.bill, priced.scheduler)
    return Result(metrics, priced, replicas, streamed=True)


def _dealt(trace: Trace, first: int, replicas: int) -> Trace:
    """Every `replicas`-th request from `first` on."""
    pick = slice(first, None, replicas)
    priority = None if trace.priority is None else trace.priority[pick]
    return replace(trace, arrival_ns=trace.arrival_ns[pick], prompt_tokens=trace.prompt_tokens[pick],
                   output_tokens=trace.output_tokens[pick], priority=priority)


def _with_more(pieces: Iterator[Trace]) -> Iterator[tuple[Trace, bool]]:
    """Every piece, and whether others follow."""
    piece = next(pieces)
    for following in pieces:
        yield piece, True
        piece = following
    yield piece, False


def streams(design: Design) -> bool:
    """Whether the design's workload is long enough to be streamed rather than kept."""
    return exceeds(design.workload, LONGEST_KEPT)
