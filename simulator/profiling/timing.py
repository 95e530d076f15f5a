"""The timing of one call: median and noise over repeats, with cold caches.

CPU: wall time of each call. GPU: CUDA events around each call, in a stream that is never empty (the write that flushes
the L2 cache before each call outlasts its launch), so that a call is timed from its first kernel to its last; eagerly
launched kernels still wait for the host where it is slower than they are, captured ones do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WARM_UP = 3  # calls before the first that counts: allocator, library handles, autotuning
BUDGET_S = 2.0  # of one point; at least MIN_REPEATS whatever they take
MIN_REPEATS = 3
FLUSH_CACHES = 4  # times the L2 cache's size written between calls; the last-level cache of a CPU alike
CPU_FLUSH_BYTES = 64 << 20  # above the last-level cache of most servers


@dataclass(frozen=True)
class Timed:
    """Seconds of one call: median and median absolute deviation of `repeats`."""

    seconds: float
    mad_s: float
    repeats: int


def summarised(samples: list[float]) -> Timed:
    """Median and median absolute deviation of samples in seconds."""
    median = statistics.median(samples)
    return Timed(median, statistics.median(abs(s - median) for s in samples), len(samples))


def timer(torch: Any, device: str, launch: str, repeats: int) -> Callable[[Callable[[], object]], Timed]:
    """What times a call on `device` ("cpu" or "cuda"); launch: "eager" or "graph" (GPU only)."""
    if device == "cpu":
        scratch = torch.empty(CPU_FLUSH_BYTES // 4, dtype=torch.int32)
        return lambda call: _on_cpu(call, scratch, repeats)
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    scratch = torch.empty(FLUSH_CACHES * properties.L2_cache_size // 4, dtype=torch.int32, device="cuda")
    return lambda call: _on_cuda(torch, call, scratch, repeats, graph=launch == "graph")


def _on_cpu(call: Callable[[], object], scratch: Any, repeats: int) -> Timed:
    begun = time.perf_counter()
    call()
    if time.perf_counter() - begun < BUDGET_S / 10:  # a long call warms itself
        for _ in range(WARM_UP - 1):
            call()
    samples: list[float] = []
    end = time.perf_counter() + BUDGET_S
    while len(samples) < repeats and (len(samples) < MIN_REPEATS or time.perf_counter() < end):
        scratch.zero_()
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return summarised(samples)


def _on_cuda(torch: Any, call: Callable[[], object], scratch: Any, repeats: int, *, graph: bool) -> Timed:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # a capture must not be the first use of any library
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    if graph:
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            call()
        call = captured.replay
        call()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, end in events:
        scratch.zero_()
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return summarised([start.elapsed_time(end) * 1e-3 for start, end in events])
