"""The decision whether the ladder pays for a space, and which rungs it has."""

from __future__ import annotations

import random

from simulator.inputs.errors import InputError
from sweeper.run.ladder.ladder import Rungs
from sweeper.space.schema import LadderSpec
from sweeper.space.space import Space

LEAST_REQUESTS = 50_000  # a trace below costs milliseconds, which is what asking for a design costs, too
SHARE, LEAST_SHORT = 16, 200  # of the trace that the short one has, and its least requests
LEAST_SECONDS = 0.1  # of a full simulation: at 51 ms and less the ladder broke even at best (docs/search.md)
MOST_SHARE = 0.5  # of a full simulation that a short one may cost
PROBES = 4  # designs that are measured


def resolve(space: Space, said: str | LadderSpec, sampler: str) -> tuple[Rungs | None, str]:
    """The rungs, None for none, and a line for the user where `auto` chose them.

    Raises InputError for a ladder in an exhaustive sweep, which wants every design's own result.
    """
    if sampler == "exhaustive":
        if said not in ("auto", "off"):
            raise InputError("an exhaustive sweep simulates every design; use another sampler, or no ladder",
                             key="study.ladder")
        return None, ""
    if said == "off":
        return None, ""
    spec = said if isinstance(said, LadderSpec) else LadderSpec()
    from sweeper.workers.evaluator import load_traces, plugged

    longest = max(len(trace) for trace in load_traces(space).values())
    requests = max(longest // SHARE, LEAST_SHORT) if spec.requests is None else spec.requests
    rungs = Rungs(requests if requests < longest else 0, spec.anchors, spec.retention, spec.proofs)
    if said != "auto":
        return rungs, ""
    if longest < LEAST_REQUESTS or space.capacity is not None or plugged(space):  # a short trace shows no capacity
        return None, ""
    full_s, short_s = _measured(space, rungs.requests)
    if full_s < LEAST_SECONDS or not rungs.requests or short_s > MOST_SHARE * full_s:
        return None, ""
    return rungs, (f"ladder: bounds, then {rungs.requests:,} requests ({1e3 * short_s:.1f} ms), then all {longest:,} "
                   f"({1e3 * full_s:.0f} ms)")


def _measured(space: Space, requests: int) -> tuple[float, float]:
    """Seconds of a full and of a short evaluation, the least over a few random designs that can serve."""
    from sweeper.workers.evaluator import warm_evaluator
    from sweeper.workers.worker import Task, run_task

    evaluator, rng = warm_evaluator(space), random.Random(0)
    seconds: list[tuple[float, float]] = []
    for _ in range(5 * PROBES):
        point = space.sample(rng)
        full = run_task(evaluator, Task(0, point))
        if full.metrics:
            short = run_task(evaluator, Task(0, point, requests=requests))
            seconds.append((full.seconds, short.seconds if short.metrics else full.seconds))
        if len(seconds) == PROBES:
            break
    return (min(full for full, _ in seconds), min(short for _, short in seconds)) if seconds else (0.0, 0.0)
