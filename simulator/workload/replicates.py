"""The replicates of a workload: a synthetic trace with other seeds, or a recorded one begun at other requests.

A synthetic workload is drawn with the next seed. A recorded trace is begun at another request and continued around its
end (a circular shift), which keeps every request and every gap between neighbours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.design.records.workload import Workload
from simulator.inputs.errors import InputError
from simulator.workload.load import load_trace
from simulator.workload.trace import Trace


def replicates(workload: Workload, trace: Trace, count: int) -> list[Trace]:
    """`trace` (the workload's own) and `count` - 1 others. Raises InputError where prompts have contents."""
    if count == 1:
        return [trace]
    if workload.trace is None:
        again = (workload.model_copy(update={"seed": workload.seed + k}) for k in range(1, count))
        return [trace, *(load_trace(other) for other in again)]
    return [trace, *(shifted(trace, round(k * len(trace) / count)) for k in range(1, count))]


def shifted(trace: Trace, start: int) -> Trace:
    """The trace from request `start` around to `start` - 1; between the last and the first lies a mean gap.

    Raises InputError for prompts with contents: they refer to requests by number.
    """
    if trace.segments is not None or trace.prompt_ids is not None:
        raise InputError("a recorded trace with prompt contents cannot be replicated; use one seed", key="workload.trace")
    order = np.roll(np.arange(len(trace)), -start)
    span_ns = int(trace.arrival_ns[-1] - trace.arrival_ns[0])
    around = round(span_ns / max(len(trace) - 1, 1))
    gaps = np.diff(trace.arrival_ns, append=trace.arrival_ns[-1] + around)  # [n]: from each request to the next
    arrival = np.concatenate([[0], np.cumsum(gaps[order][:-1])])
    return replace(trace, arrival_ns=arrival.astype(np.int64), prompt_tokens=trace.prompt_tokens[order],
                   output_tokens=trace.output_tokens[order],
                   priority=None if trace.priority is None else trace.priority[order])
