"""Closed-loop load: a fixed number of clients, each of which sends its next request when its last one has finished.

This is how serving benchmarks hold concurrency (`vllm bench serve --max-concurrency`, aiperf, genai-perf). All clients
start at time 0. Requests are taken in the order of the trace, so request i >= concurrency arrives when the
(i - concurrency + 1)-th of the served requests finishes. Engines only need to know when to hand over the next one; its
time of arrival is told here, afterwards. Requests that are rejected are skipped: their client goes on at once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.scheduler.config import EngineResult, Trace


def with_arrivals(trace: Trace, result: EngineResult) -> Trace:
    """`trace` with the arrivals that its clients came to in this run. Served as an open-loop trace it gives the same run, as
    long as one batch is in flight at a time: with more, the engine delivers an answer, and so hears of the next request, up to
    a host time after the batch ended."""
    if not trace.concurrency:
        return trace
    served = result.finish_ns >= 0
    arrival = np.zeros(int(served.sum()), np.int64)
    arrival[trace.concurrency:] = np.sort(result.finish_ns[served])[: max(0, len(arrival) - trace.concurrency)]
    every = np.zeros(len(trace), np.int64)
    every[served] = arrival
    return replace(trace, arrival_ns=np.maximum.accumulate(every), concurrency=0)


def share(trace: Trace, replicas: int, replica: int) -> int:
    """Clients that a load balancer keeps on one of the replicas."""
    return trace.concurrency // replicas + (replica < trace.concurrency % replicas)
