"""The timeline of a run: its engine steps as a trace that Perfetto and chrome://tracing open.

Format: Trace Event Format (Google, "Trace Event Format", 2016): `ts` and `dur` in microseconds, complete events (X), counters
(C), nestable asynchronous spans (b, e), metadata (M).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.design.design import Design
from simulator.design.engine_defaults.host import host_of
from simulator.engine import reference
from simulator.engine.batch_time import StepTime, step_time
from simulator.engine.result import EngineResult, StepLog
from simulator.pricing import grids
from simulator.pricing.cuda_graphs import cover_of, exposed_launches_ns, padded
from simulator.pricing.price import PricedDesign
from simulator.pricing.step_time import StepTables
from simulator.result import Replica
from simulator.scheduler.requests import Entry

Event = dict[str, Any]
PARTS = ("embed", "before", "attention", "after", "send", "head")  # in the order in which a stage runs them
HOST, LANES = 1, {"device": 0, "pim": 1, "link": 2}  # thread ids: the host's, and a stage's lanes from 10 * (stage + 1)


@dataclass(frozen=True)
class Share:
    """An operator in one step of one stage: its priced seconds, before anything overlaps."""

    name: str
    device: str  # device | pim | link
    seconds: float


def events(design: Design, priced: PricedDesign, replicas: Sequence[Replica], steps: int, requests: int) -> Iterator[Event]:
    """The first `steps` steps and `requests` requests of every replica, which was run with a log; a process each."""
    for number, replica in enumerate(replicas, 1):
        log = replica.run.log
        assert log is not None
        shown = min(steps, len(log.start_ns))
        times = step_times(replica, priced, int(np.count_nonzero(log.n[:shown])))
        yield from _names(design, priced, number)
        yield from _steps(design, priced, log, times, shown, number)
        yield from _counters(log, shown, number)
        last_ns = int(log.end_ns[:shown].max(initial=0))
        yield from _requests(replica, requests, last_ns, number)


class _EnoughError(Exception):
    """The reference engine has priced as many steps as are wanted."""


def step_times(replica: Replica, priced: PricedDesign, count: int) -> list[StepTime]:
    """What each of the first `count` steps with tokens takes, stage by stage: as the reference engine prices it."""
    times: list[StepTime] = []

    def keep(entries: Sequence[Entry], tables: StepTables, swapped_blocks: int) -> StepTime:
        if len(times) == count:
            raise _EnoughError
        times.append(step_time(entries, tables, swapped_blocks))
        return times[-1]

    with contextlib.suppress(_EnoughError):
        reference.run(replica.trace, priced.scheduler, priced.costs, pricer=keep)
    return times


def shares(design: Design, priced: PricedDesign, time: StepTime, sequences: int, stage: int) -> list[Share]:
    """The operators of a step on one stage, in order, those that take time."""
    layers = priced.costs.stage_layers
    part_of_layers, stages = float(layers[stage]) / float(layers.sum()), len(layers)
    host, graphs = host_of(design), cover_of(design)
    rows = float(padded(np.array([time.tokens]), graphs)[0])
    scale = {"embed": float(stage == 0), "head": float(stage == stages - 1), "before": part_of_layers, "after": part_of_layers,
             "send": 1.0 / (stages - 1) if stage < stages - 1 else 0.0}
    found: dict[str, list[Share]] = {part: [] for part in PARTS}
    for curve, device in zip(priced.curves, priced.device_names, strict=True):
        if curve.part == "attention":
            total_ns = time.decode_ns if curve.name.startswith("decode") else time.prefill_ns
            seconds = total_ns / 1e9 * part_of_layers
        else:
            knots = grids.knots_of_size(grids.row_knots, 16384, len(curve.seconds))
            at = sequences if curve.part == "head" else rows
            seconds = float(np.interp(at, knots, curve.seconds)) * curve.repeats * scale[curve.part]
        found[curve.part].append(Share(curve.name, device, seconds))
    if stage == 0:
        found["embed"].append(Share("device_step", "device", host.device_step_s + host.device_sequence_s * sequences))
    waiting = exposed_launches_ns(priced.costs.linear_ns[: time.tokens + 1], layers.tolist(), host.graphless_layer_s, graphs)
    found["after"].append(Share("launches", "device", float(waiting[stage, -1]) / 1e9))
    return [share for part in PARTS for share in found[part] if share.seconds > 0]


def _names(design: Design, priced: PricedDesign, process: int) -> Iterator[Event]:
    hardware = design.hardware
    compute = "NPU" if hardware.npu is not None else "GPU" if hardware.gpu is not None else hardware.name
    called = {"device": compute, "pim": "PIM", "link": "links"}
    yield _named("process_name", process, 0, f"replica {process}")
    yield _named("thread_name", process, HOST, "scheduler (host)")
    for stage in range(len(priced.costs.stage_layers)):
        for device in LANES:
            if device in priced.device_names:
                yield _named("thread_name", process, _lane(stage, device), f"stage {stage} {called[device]}")


def _named(kind: str, process: int, thread: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _lane(stage: int, device: str) -> int:
    return 10 * (stage + 1) + LANES[device]


def _steps(design: Design, priced: PricedDesign, log: StepLog, times: list[StepTime], shown: int, process: int) -> Iterator[Event]:
    """The host's decisions, and every stage's part of a step with its operators inside."""
    stage_free = [0] * len(priced.costs.stage_layers)
    priced_steps = iter(times)
    for step in range(shown):
        decided, sequences = int(log.scheduled_ns[step]), int(log.n[step])
        if sequences == 0:
            yield {"ph": "i", "name": "preemption", "s": "t", "pid": process, "tid": HOST, "ts": decided / 1e3}
            continue
        time = next(priced_steps)
        told = {"step": step, "requests": sequences, "tokens": time.tokens, "decodes": time.decodes, "chunks": time.chunks}
        if time.host_ns:
            yield _slice("schedule", "host", process, HOST, decided, decided + time.host_ns, {"step": step})
        end = int(log.start_ns[step])
        for stage, duration in enumerate(time.stage_ns):
            start = max(end, stage_free[stage])
            end = stage_free[stage] = start + duration
            yield _slice(f"step {step}", "step", process, _lane(stage, "device"), start, end,
                         {**told, "stage": stage, "start_ns": start, "end_ns": end})
            yield from _operators(shares(design, priced, time, sequences, stage), start, duration, stage, process)


def _operators(found: list[Share], start: int, duration: int, stage: int, process: int) -> Iterator[Event]:
    """One after the other, stretched or squeezed to fill the step: NPU and PIM may overlap in a sub-batched step."""
    seconds = np.array([share.seconds for share in found])
    edges = start + np.rint(np.concatenate([[0.0], np.cumsum(seconds)]) / max(seconds.sum(), 1e-30) * duration).astype(np.int64)
    for share, begin, end in zip(found, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if end > begin:
            yield _slice(share.name, "operator", process, _lane(stage, share.device), begin, end,
                         {"priced_us": share.seconds * 1e6})


def _slice(name: str, category: str, process: int, thread: int, start: int, end: int, told: dict[str, Any]) -> Event:
    return {"ph": "X", "name": name, "cat": category, "pid": process, "tid": thread, "ts": start / 1e3,
            "dur": (end - start) / 1e3, "args": told}


def _counters(log: StepLog, shown: int, process: int) -> Iterator[Event]:
    for name, column in (("running", log.running), ("waiting", log.waiting), ("free KV blocks", log.free_blocks)):
        for step in range(shown):
            yield {"ph": "C", "name": name, "pid": process, "ts": int(log.scheduled_ns[step]) / 1e3,
                   "args": {name: int(column[step])}}


def _requests(replica: Replica, most: int, last_ns: int, process: int) -> Iterator[Event]:
    """A span a request, with its phases inside."""
    run: EngineResult = replica.run
    for i in range(min(most, len(replica.trace))):
        arrival, finish = int(replica.trace.arrival_ns[i]), int(run.finish_ns[i])
        if finish < 0 or arrival > last_ns:
            continue
        edges = [arrival, int(run.first_scheduled_ns[i]), int(run.first_token_ns[i]), finish]
        told = {"prompt_tokens": int(replica.trace.prompt_tokens[i]), "output_tokens": int(replica.trace.output_tokens[i]),
                "preemptions": int(run.preemptions[i])}
        yield _span("b", f"request {i}", i, process, arrival, told)
        for phase, start, end in zip(("queueing", "prefill", "decode"), edges[:-1], edges[1:], strict=True):
            yield _span("b", phase, i, process, start, {})
            yield _span("e", phase, i, process, end, {})
        yield _span("e", f"request {i}", i, process, finish, {})


def _span(phase: str, name: str, request: int, process: int, at_ns: int, told: dict[str, Any]) -> Event:
    return {"ph": phase, "cat": "request", "name": name, "id2": {"local": str(request)}, "pid": process, "tid": HOST,
            "ts": at_ns / 1e3, "args": told}
