"""Synthetic traces: arrival processes and length distributions, drawn from one seed."""

from __future__ import annotations

import numpy as np

from simulator.inputs.errors import InputError
from simulator.schema.workload import Arrivals, Lengths, Workload
from simulator.serving.config import Trace

MAX_TOKENS = 2**27  # per request; beyond any model's context


def draw(workload: Workload) -> Trace:
    """`workload.requests` requests. Arrivals, prompts and outputs have generators of their own (spawned from the seed), so
    changing one distribution leaves the draws of the others as they were (common random numbers between designs)."""
    arrivals, prompt, output, n = workload.arrivals, workload.prompt, workload.output, workload.requests
    assert prompt and output and n  # the record's own validation
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(workload.seed).spawn(3)]
    arrival = _arrivals(arrivals, n, streams[0]) if arrivals else np.zeros(n, np.int64)
    return Trace(arrival, _lengths(prompt, n, streams[1], "prompt"),
                 _lengths(output, n, streams[2], "output"))


def _arrivals(arrivals: Arrivals, n: int, rng: np.random.Generator) -> np.ndarray:
    """Arrival times, int64 ns. The first request arrives after the first gap, so a Poisson process is Poisson."""
    mean_s = 1.0 / arrivals.rate_per_s
    if arrivals.process == "poisson":
        gaps = rng.exponential(mean_s, n)
    elif arrivals.process == "gamma":  # shape 1/cv^2, scale mean*cv^2: mean and coefficient of variation as asked
        gaps = rng.gamma(1.0 / arrivals.cv**2, mean_s * arrivals.cv**2, n)
    elif arrivals.process == "constant":
        gaps = np.full(n, mean_s)
    else:
        gaps = np.zeros(n)
        gaps[:: arrivals.burst_size] = mean_s * arrivals.burst_size
    times = np.cumsum(gaps) * 1e9
    if times[-1] > 2.0**61:
        raise InputError("the arrivals span more than 73 years", key="workload.arrivals.rate")
    return np.rint(times).astype(np.int64)


def _lengths(lengths: Lengths, n: int, rng: np.random.Generator, key: str) -> np.ndarray:
    """Token counts >= 1, int32."""
    if lengths.distribution == "fixed":
        values = np.full(n, float(lengths.mean or 1))
    elif lengths.distribution == "uniform":
        values = rng.integers(lengths.low or 1, lengths.high or 1, n, endpoint=True).astype(float)
    elif lengths.distribution == "lognormal":
        # underlying normal: variance ln(1 + cv^2), mean ln(mean) - variance / 2
        mean, cv = float(lengths.mean or 1), float(lengths.cv or 0)
        variance = np.log1p(cv**2)
        values = rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), n)
    else:
        values = rng.choice(np.asarray(lengths.values, dtype=float), n)
    high = lengths.high if lengths.high is not None else MAX_TOKENS
    low = lengths.low if lengths.low is not None else 1
    if values.max() > MAX_TOKENS and lengths.high is None:
        raise InputError(f"draws lengths above {MAX_TOKENS} tokens", key=f"workload.{key}")
    return np.clip(np.rint(values), low, high).astype(np.int32)
