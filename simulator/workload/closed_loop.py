"""Closed-loop load: a fixed number of clients, each of which sends its next request when its last one has finished.

This is how serving benchmarks hold concurrency (`vllm bench serve --max-concurrency`, aiperf, genai-perf). All clients
start at time 0. Requests are taken in the order of the trace, so request i >= concurrency arrives when the
(i - concurrency + 1)-th of the served requests finishes. Engines only need to know when to hand over the next one; its
time of arrival is told here, afterwards. Requests that are rejected are skipped: their client goes on at once.
"""

from __future__ import annotations

from simulator.workload.trace import Trace


def share(trace: Trace, replicas: int, replica: int) -> int:
    """Clients that a load balancer keeps on one of the replicas."""
    return trace.concurrency // replicas + (replica < trace.concurrency % replicas)
