"""Synthetic traces: arrival processes and length distributions, drawn from one seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.design.records.workload import Arrivals, Lengths, Workload
from simulator.inputs.errors import InputError
from simulator.workload.trace import MAX_TOKENS, Trace


def draw(workload: Workload) -> Trace:
    """`workload.requests` requests. Arrivals, prompts and outputs have generators of their own (spawned from the seed), so
    changing one distribution leaves the draws of the others as they were (common random numbers between designs)."""
    return next(drawn_pieces(workload, workload.requests or 1))


def drawn_pieces(workload: Workload, most: int) -> Iterator[Trace]:
    """The same requests, however many (`most`) are drawn at a time: the generators go on from piece to piece."""
    arrivals, prompt, output, n = workload.arrivals, workload.prompt, workload.output, workload.requests
    assert prompt and output and n  # the record's own validation
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(workload.seed).spawn(3)]
    clock_s = 0.0
    for first in range(0, n, most):
        size = min(most, n - first)
        arrival = np.zeros(size, np.int64)
        if arrivals:
            arrival, clock_s = _arrivals(arrivals, first, size, clock_s, streams[0])
        yield Trace(arrival, _lengths(prompt, size, streams[1], "prompt"), _lengths(output, size, streams[2], "output"))


def _arrivals(arrivals: Arrivals, first: int, n: int, clock_s: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Arrival times, int64 ns, of `n` requests from number `first` on, and the last in seconds; `clock_s`: that of the
    request before. The first request of all arrives after the first gap, so a Poisson process is Poisson."""
    mean_s = 1.0 / arrivals.rate_per_s
    if arrivals.process == "poisson":
        gaps = rng.exponential(mean_s, n)
    elif arrivals.process == "gamma":
        if not 1e-6 <= arrivals.cv <= 1e6:
            raise InputError(f"must be from 1e-6 to 1e6, got {arrivals.cv:g}", key="workload.arrivals.cv")
        # shape 1/cv^2, scale mean*cv^2: mean and coefficient of variation as asked
        gaps = rng.gamma(1.0 / arrivals.cv**2, mean_s * arrivals.cv**2, n)
    elif arrivals.process == "constant":
        gaps = np.full(n, mean_s)
    else:
        gaps = np.zeros(n)
        gaps[-first % arrivals.burst_size :: arrivals.burst_size] = mean_s * arrivals.burst_size
    gaps[0] += clock_s
    times_s = np.cumsum(gaps)
    times = times_s * 1e9
    if not times[-1] <= 2.0**61:
        raise InputError("the arrivals span more than 73 years", key="workload.arrivals.rate")
    return np.rint(times).astype(np.int64), float(times_s[-1])


def _lengths(lengths: Lengths, n: int, rng: np.random.Generator, key: str) -> np.ndarray:
    """Token counts >= 1, int32."""
    if lengths.distribution == "fixed":
        values = np.full(n, float(lengths.mean or 1))
    elif lengths.distribution == "uniform":
        values = rng.integers(lengths.low or 1, lengths.high or 1, n, endpoint=True).astype(float)
    elif lengths.distribution == "lognormal":
        # underlying normal: variance ln(1 + cv^2), mean ln(mean) - variance / 2
        mean, cv = float(lengths.mean or 1), float(lengths.cv or 0)
        if cv > 1e6 or not 1e-6 <= mean <= MAX_TOKENS:
            raise InputError(f"cv must be at most 1e6 and mean from 1e-6 to {MAX_TOKENS:,}, got {cv:g} and {mean:g}",
                             key=f"workload.{key}")
        variance = np.log1p(cv**2)
        values = rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), n)
    else:
        values = rng.choice(np.asarray(lengths.values, dtype=float), n)
    high = lengths.high if lengths.high is not None else MAX_TOKENS
    low = lengths.low if lengths.low is not None else 1
    if low > MAX_TOKENS or (not values.max() <= MAX_TOKENS and not high < MAX_TOKENS):
        raise InputError(f"draws lengths above {MAX_TOKENS:,} tokens", key=f"workload.{key}")
    return np.clip(np.rint(values), low, high).astype(np.int32)
