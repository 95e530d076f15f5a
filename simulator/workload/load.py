"""The loader of a workload's requests: it reads a trace file or draws a synthetic trace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.design.records.workload import Workload
from simulator.inputs.errors import InputError
from simulator.workload.synthetic import draw
from simulator.workload.trace import Trace
from simulator.workload.trace_files import read_trace

MAX_SPAN_NS = 2**61  # 73 years: beyond it sums of int64 nanoseconds could overflow


def load_trace(workload: Workload) -> Trace:
    """The requests of `workload`: sorted by arrival, first `requests` of them, clipped, stretched to `rate`.

    Raises InputError where the trace file is missing, malformed, empty or shorter than `requests`.
    """
    trace = read_trace(workload.trace) if workload.trace is not None else draw(workload)
    if workload.requests is not None:
        if workload.requests > len(trace):
            raise too_few(len(trace), workload.requests, workload.trace)
        trace = head(trace, workload.requests)
    trace = clip(trace, workload.max_prompt_tokens, workload.max_output_tokens)
    if workload.rate_per_s is not None:
        trace = at_rate(trace, workload.rate_per_s)
    if workload.concurrency is not None:
        trace = replace(trace, arrival_ns=np.zeros(len(trace), np.int64), concurrency=workload.concurrency)
    return trace


def too_few(has: int, asked: int, file: str | None) -> InputError:
    """A trace that ends before `workload.requests`: nothing that was asked for is left out in silence."""
    return InputError(f"{asked:,} requested, but the trace has only {has:,}; use at most {has:,}, remove the key, or draw "
                      "synthetic requests (arrivals, prompt and output in place of trace)", file=file, key="workload.requests")


def head(trace: Trace, requests: int) -> Trace:
    """The first `requests` requests."""
    n = min(requests, len(trace))
    if n == len(trace):
        return trace
    segments, ids, id_offsets = trace.segments, trace.prompt_ids, trace.prompt_id_offsets
    if segments is not None:
        end = segments.offsets[n]
        segments = replace(segments, offsets=segments.offsets[: n + 1], stream=segments.stream[:end],
                           start=segments.start[:end], length=segments.length[:end])
    if ids is not None and id_offsets is not None:
        ids, id_offsets = ids[: id_offsets[n]], id_offsets[: n + 1]
    return Trace(trace.arrival_ns[:n], trace.prompt_tokens[:n], trace.output_tokens[:n],
                 None if trace.priority is None else trace.priority[:n], segments, ids, id_offsets, trace.concurrency)


def at_rate(trace: Trace, rate_per_s: float) -> Trace:
    """The same requests with the time axis stretched so that the mean arrival rate is `rate_per_s`.

    The rate is (n - 1) gaps over the time from first to last arrival; the first request moves to time 0.
    """
    start, scale = time_scale(len(trace), int(trace.arrival_ns[0]), int(trace.arrival_ns[-1]), rate_per_s)
    arrival = np.rint((trace.arrival_ns - start) * scale).astype(np.int64)
    return replace(trace, arrival_ns=arrival)


def time_scale(requests: int, first_ns: int, last_ns: int, rate_per_s: float) -> tuple[int, float]:
    """Start of the time axis and the factor by which it is stretched."""
    span_ns = last_ns - first_ns
    if requests < 2 or span_ns == 0:
        raise InputError("cannot be stretched to a rate: all requests arrive at once", key="workload.rate")
    scale = (requests - 1) / rate_per_s * 1e9 / span_ns
    if scale * span_ns > MAX_SPAN_NS:
        raise InputError(f"{rate_per_s:g} requests/s stretches the trace over more than 73 years", key="workload.rate")
    return first_ns, scale


def clip(trace: Trace, max_prompt: int | None, max_output: int | None) -> Trace:
    """Lengths no longer than the limits that are given."""
    prompt, output = trace.prompt_tokens, trace.output_tokens
    if max_output is not None:
        output = np.minimum(output, max_output).astype(np.int32)
    if max_prompt is not None and int(prompt.max()) > max_prompt:
        if trace.segments is not None or trace.prompt_ids is not None:
            raise InputError("cannot clip prompts whose content is known; drop it or filter the trace file",
                             key="workload.max_prompt_tokens")
        prompt = np.minimum(prompt, max_prompt).astype(np.int32)
    return replace(trace, prompt_tokens=prompt, output_tokens=output)


def split(trace: Trace, replicas: int) -> list[Trace]:
    """The trace dealt round-robin to `replicas` (how a stateless load balancer spreads it); empty parts left out."""
    if replicas == 1:
        return [trace]
    parts = []
    number = np.arange(len(trace)) if trace.number is None else trace.number
    replicas = min(replicas, trace.concurrency or replicas)  # fewer clients than replicas leave some idle
    for r in range(min(replicas, len(trace))):
        pick = slice(r, None, replicas)
        priority = None if trace.priority is None else trace.priority[pick]
        parts.append(Trace(trace.arrival_ns[pick], trace.prompt_tokens[pick], trace.output_tokens[pick], priority,
                           concurrency=_clients(trace, replicas, r), number=number[pick],
                           **_content(trace, np.arange(r, len(trace), replicas))))
    return parts


def _clients(trace: Trace, replicas: int, replica: int) -> int:
    """Clients of a closed loop that a load balancer keeps on one of the replicas; 0 in an open loop."""
    return trace.concurrency // replicas + (replica < trace.concurrency % replicas)


def _content(trace: Trace, chosen: np.ndarray) -> dict[str, Any]:
    """The prompt contents of the chosen requests (streams of generated tokens keep their original request ids)."""
    if trace.segments is not None:
        s = trace.segments
        counts = np.diff(s.offsets)[chosen]
        index = _gather(s.offsets[chosen], counts)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return {"segments": replace(s, offsets=offsets, stream=s.stream[index], start=s.start[index],
                                    length=s.length[index])}
    if trace.prompt_ids is not None and trace.prompt_id_offsets is not None:
        counts = np.diff(trace.prompt_id_offsets)[chosen]
        index = _gather(trace.prompt_id_offsets[chosen], counts)
        return {"prompt_ids": trace.prompt_ids[index],
                "prompt_id_offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)}
    return {}


def _gather(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    total = int(counts.sum())
    ends = np.cumsum(counts)
    return np.arange(total) - np.repeat(ends - counts, counts) + np.repeat(starts, counts)
