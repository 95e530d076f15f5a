"""How fast the serving engines are: `bench_simulator.py [--quick] [--json FILE]`.

CPU time of one core, median of several processes of several runs. `loop`: the compiled loop alone; `run`: the whole
call; `total`: the call and all latency statistics. Load is the share of the throughput that the same engine reaches when
all requests are there at once. Lengths: Azure conversation trace (with replacement), log-normal ShareGPT-like, long
reasoning outputs. Costs: tables of the size and shape of an 8B model on one accelerator; their values do not matter for
speed. The first row tells machines apart: Marsaglia's 64-bit xorshift, six dependent operations a number, which little
but the clock speeds up.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.report import Row, finish, json_option, measured, show  # noqa: E402
from simulator.engine import engine, reference  # noqa: E402
from simulator.engine.dense import advance as dense_advance  # noqa: E402
from simulator.engine.kernel import advance  # noqa: E402
from simulator.engine.stream import Stream  # noqa: E402
from simulator.pricing.step import StepCosts  # noqa: E402
from simulator.results.latency import latency  # noqa: E402
from simulator.results.tally import Tally  # noqa: E402
from simulator.scheduler import limits  # noqa: E402
from simulator.scheduler.acceptance import DrawnAcceptance  # noqa: E402
from simulator.scheduler.config import KvGroupConfig, SchedulerConfig, SpeculationConfig  # noqa: E402
from simulator.workload.block_identities import block_identities  # noqa: E402
from simulator.workload.pieces import PIECE  # noqa: E402
from simulator.workload.trace import Segments, Trace  # noqa: E402

SIZES = (1_000, 10_000, 100_000, 1_000_000)
LOADS = {"load50": 0.5, "load90": 0.9, "load120": 1.2}
LOOP_GOALS = {"load50": 5.2e6, "load90": 7.8e6, "load120": 9.75e6}  # requests/s: 65 % of what three special engines reached
PROCESSES = 3
CACHING = {"enable_prefix_caching": True}
ROOMY = SchedulerConfig(
    max_num_seqs=256, max_num_batched_tokens=2048, block_size=16, num_gpu_blocks=30_001, max_model_len=32_768
)


def main() -> int:
    """Prints the table; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no runs above 100,000 requests")
    json_option(parser)
    args = parser.parse_args()
    rows: list[Row] = []
    sizes = [n for n in SIZES if not args.quick or n <= 100_000]
    for measure in (yardstick, start_up, traces(sizes), others, *([] if args.quick else [streams])):
        rows += show(measure(), width=58)
    return finish(rows, args.json, shown=True)


def row(name: str, value: float, unit: str, least: float | None = None, most: float | None = None) -> Row:
    """One line of the table, with its goal if it has one."""
    if least is not None:
        return measured(name, value, unit, f">= {least:,.4g}", value >= least, digits=None)
    return measured(name, value, unit, "" if most is None else f"<= {most:,.4g}", None if most is None else value <= most,
                    digits=None)


def yardstick() -> list[Row]:
    """The pace of this core, by which figures of different machines can be compared."""
    from numba import njit

    @njit("uint64(uint64, int64)")  # type: ignore[untyped-decorator]
    def chain(x: Any, steps: int) -> Any:
        for _ in range(steps):
            x ^= x << np.uint64(13)
            x ^= x >> np.uint64(7)
            x ^= x << np.uint64(17)
        return x

    steps = 50_000_000
    seconds = min(_cpu_s(lambda: chain(np.uint64(1), steps)) for _ in range(5))
    return [row("machine/xorshift64_per_s", steps / seconds, "1/s")]


def _cpu_s(call: Callable[[], object]) -> float:
    began_s = time.process_time()
    call()
    return time.process_time() - began_s


def start_up() -> list[Row]:
    """First call in fresh processes: with an empty compile cache, then with a warm one; and compiling all there is."""
    run = ("import time; from scripts.bench_simulator import ROOMY, costs_of, trace_of; "
           "from simulator.engine import engine; trace = trace_of('sharegpt', 100, None, ROOMY); "
           "costs = costs_of(ROOMY); start = time.process_time(); engine.run(trace, ROOMY, costs); "
           "print(time.process_time() - start)")
    everything = ("import time; from simulator.simulate import warm; start = time.process_time(); warm(); "
                  "print(time.process_time() - start)")
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        seconds = [float(_printed(run, NUMBA_CACHE_DIR=first)) for _ in range(4)]
        compiled_s = float(_printed(everything, NUMBA_CACHE_DIR=second))
    return [
        row("cold_compile_s", seconds[0], "s", most=25.0),
        row("cold_compile_everything_s", compiled_s, "s", most=25.0),
        row("warm_first_call_s", float(np.median(seconds[1:])), "s", most=0.5),
    ]


def _printed(code: str, **environment: str) -> str:
    """What a Python program prints, run from the project's root."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, check=True, capture_output=True,
                          text=True).stdout


def traces(sizes: list[int]) -> Callable[[], list[Row]]:
    """Azure conversation and ShareGPT-like lengths at three loads."""

    def measure() -> list[Row]:
        rows = []
        for kind in ("azure_conv", "sharegpt"):
            for load, share in LOADS.items():
                for n in sizes:
                    goals = kind == "azure_conv" and n == max(sizes)
                    rows += speed(f"{kind}/{load}/{n}", Case(kind, n, share),
                                  loop=LOOP_GOALS[load] if goals else None,
                                  total=1e6 / 0.150 if goals and load == "load90" else None,
                                  run_ms=1.54 if kind == "azure_conv" and n == 10_000 and load == "load90" else None)  # fmt: skip
        largest = trace_of("azure_conv", max(sizes), 0.9, ROOMY)
        return [*rows, row(f"azure_conv/load90/{len(largest)}/bytes_per_request", peak_bytes(largest) / len(largest), "bytes",
                           most=44)]

    return measure


def others() -> list[Row]:
    """Every other mode of the scheduler, each with what makes it expensive, and the reference engine."""
    n, tight = 100_000, {"num_gpu_blocks": 4_001}
    cases = {
        "long_outputs/load50/10000": Case("reasoning", 10_000, 0.5, {"num_gpu_blocks": 120_001}),
        f"preemption_storm/load120/{n}": Case("sharegpt", n, 1.2, tight),
        f"preemption_storm_async/load120/{n}": Case("sharegpt", n, 1.2, tight | {"async_scheduling": True}),
        "swap_storm/load120/20000": Case("sharegpt", 20_000, 1.2, tight | {"preemption": "swap"}),
        "priority_storm/load120/20000": Case("sharegpt", 20_000, 1.2, tight | {"policy": "priority"}),
        "azure_conv_priority/load90/20000": Case("azure_conv", 20_000, 0.9, {"policy": "priority"}),
        "azure_conv_unchunked/load90/20000": Case("azure_conv", 20_000, 0.9, {"enable_chunked_prefill": False,
                                                                              "max_num_batched_tokens": 32_768}),
        "azure_conv_cap512/load90/20000": Case("azure_conv", 20_000, 0.9, {"long_prefill_token_threshold": 512}),
        "azure_conv_log/load90/20000": Case("azure_conv", 20_000, 0.9, log=True),
        f"azure_conv_async/load90/{n}": Case("azure_conv", n, 0.9, {"async_scheduling": True}),
        f"azure_conv_pp4/load90/{n}": Case("azure_conv", n, 0.9, {"pipeline_parallel_size": 4}),
        f"azure_conv_closed64/{n // 5}": Case("azure_conv", n // 5, None, clients=64),
        f"azure_conv_pim32/load90/{n}": Case("azure_conv", n, 0.9, channels=32),
        f"sharegpt_prefix_caching/load90/{n}": Case("prefixes", n, 0.9, CACHING),
        f"azure_conv_caching_nothing_shared/load90/{n}": Case("azure_conv", n, 0.9, CACHING),
        "prefix_caching_storm/load120/20000": Case("prefixes", 20_000, 1.2, CACHING | tight),
        "prefix_caching_storm_async/load120/20000": Case("prefixes", 20_000, 1.2, CACHING | tight | {"async_scheduling": True}),
        "prefix_caching_storm_pp4/load120/20000": Case("prefixes", 20_000, 1.2, CACHING | tight | {"pipeline_parallel_size": 4}),
    }
    rows = against_plain(n)
    run_ms = {"long_outputs/load50/10000": 4.6}
    rows += [r for name, case in cases.items() for r in speed(name, case, run_ms=run_ms.get(name))]
    small = trace_of("azure_conv", 1_000, 0.9, ROOMY)
    inputs = small, ROOMY, costs_of(ROOMY)
    slow, fast = cpu_s(lambda: reference.run(*inputs), 1), cpu_s(lambda: engine.run(*inputs), 15)
    rows.append(row("azure_conv/load90/1000/reference_requests_per_s", len(small) / slow, "requests/s"))
    rows.append(row("azure_conv/load90/1000/speedup_over_reference", slow / fast, "x"))
    return rows


def against_plain(n: int) -> list[Row]:
    """KV groups (full layers and a window of 128 tokens) and speculation (three drafts of an MTP module, 1.85 of them accepted)
    at 90 % load, as shares of the plain run's pace."""
    groups = {"kv_groups": (KvGroupConfig("full", 16), KvGroupConfig("window", 16, 128)), "num_gpu_blocks": 60_001}
    drafts = {"speculation": SpeculationConfig("mtp", 3, DrawnAcceptance((0.8, 0.6, 0.45)))}
    rows = speed(f"azure_conv_plain/load90/{n}", Case("azure_conv", n, 0.9))
    plain = float(rows[0]["value"])
    for name, extra, least in (("kv_groups", groups, 0.4), ("speculation", drafts, 0.25)):
        rows += speed(f"azure_conv_{name}/load90/{n}", Case("azure_conv", n, 0.9, extra))
        rows.append(row(f"azure_conv_{name}/load90/{n}/share_of_plain", float(rows[-4]["value"]) / plain, "x", least=least))
    return rows


def streams() -> list[Row]:
    """Runs that keep no request, of one and of ten million, each in a process of its own: CPU time with drawing the
    requests and all statistics, and the most memory that the process took."""
    rows, peaks = [], []
    for n in (PIECE, 1_000_000, 10_000_000):  # the first compiles
        code = f"from scripts.bench_simulator import stream; stream({n})"
        shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        seconds, peak = (float(word) for word in shown.split())
        if n == PIECE:
            continue
        peaks.append(peak)
        rows.append(row(f"azure_conv/load90/{n}/streamed_requests_per_s", n / seconds, "requests/s"))
        rows.append(row(f"azure_conv/load90/{n}/streamed_peak_mib", peak, "MiB"))
    return [*rows, row("azure_conv/load90/10000000/streamed_growth_mib", peaks[1] - peaks[0], "MiB", most=16)]


def stream(n: int) -> None:
    """Prints CPU seconds and peak memory (MiB, of the whole process) of a streamed run of `n` requests."""
    most, costs, rng = 20_000, costs_of(ROOMY), np.random.default_rng(0)
    burst = trace_of("azure_conv", most, None, ROOMY)
    gap_ns = engine.run(burst, ROOMY, costs).makespan_ns / most / 0.9
    run, tally, now_ns = Stream(ROOMY, costs, gaps=True), Tally(1.0, 0.05, None), 0.0
    start = time.process_time()
    for first in range(0, n, PIECE):
        size = min(PIECE, n - first)
        pick = rng.integers(0, most, size)
        arrival = now_ns + np.cumsum(rng.exponential(gap_ns, size))
        now_ns = arrival[-1]
        piece = Trace(arrival.astype(np.int64), burst.prompt_tokens[pick], burst.output_tokens[pick])
        tally.add(run.feed(piece, more=first + size < n))
    assert tally.finished == n
    tally.latency(n, run.result().gap_counts)
    print(time.process_time() - start, peak_mib())


def peak_mib() -> float:
    """Peak memory of this process. Linux hands `ru_maxrss` on to a program started by a larger one, VmHWM it does not."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Case(NamedTuple):
    """A workload and the limits it is served under. `kind`: see `trace_of`; `load` None: all requests at once."""

    kind: str
    requests: int
    load: float | None
    limits: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    clients: int = 0
    channels: int = 0
    log: bool = False


def speed(name: str, case: Case, *, loop: float | None = None, total: float | None = None,
          run_ms: float | None = None) -> list[Row]:  # fmt: skip
    """Requests/s of the loop and in all, ns per request, steps/s: medians over processes, since an engine's pace differs from
    process to process by up to a half and hardly within one."""
    names = "Case, DrawnAcceptance, KvGroupConfig, SpeculationConfig, time_case"
    code = f"from scripts.bench_simulator import {names}; time_case({case!r})"
    measured_s = np.array([[float(word) for word in _printed(code).split()] for _ in range(PROCESSES)])
    loop_s, run_s, statistics_s, steps = np.median(measured_s, axis=0)
    n = case.requests
    rows = [
        row(f"{name}/loop_requests_per_s", n / loop_s, "requests/s", least=loop),
        row(f"{name}/total_requests_per_s", n / (run_s + statistics_s), "requests/s", least=total),
        row(f"{name}/ns_per_request", 1e9 * loop_s / n, "ns"),
        row(f"{name}/steps_per_s", steps / loop_s, "steps/s"),
    ]
    if run_ms is not None:
        rows.append(row(f"{name}/run_ms", 1e3 * run_s, "ms", most=run_ms))
    return rows


def time_case(case: Case) -> None:
    """Prints CPU seconds of the compiled loop, of the whole call and of the statistics, medians of several runs, and the steps."""
    config = dataclasses.replace(ROOMY, **case.limits)
    costs = costs_of(config)
    if case.channels:
        costs = dataclasses.replace(costs, channels=case.channels, channel_request_ns=2_000.0, channel_token_ns=90.0)
    make = with_shared_prefixes if case.kind == "prefixes" else functools.partial(trace_of, case.kind)
    trace = dataclasses.replace(make(case.requests, case.load, config), concurrency=case.clients)
    if config.policy == "priority":
        priority = np.random.default_rng(3).integers(0, 3, len(trace)).astype(np.int32)
        trace = dataclasses.replace(trace, priority=priority)
    options: dict[str, Any] = {"log": case.log}
    if config.enable_prefix_caching:
        options["identities"] = block_identities(trace, limits.served_outputs(trace, config), config.block_size)
    repeats = int(np.clip(1_000_000 // case.requests, 3, 21))
    inside: list[float] = []

    def timed(kernel: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            start = time.thread_time()
            end = kernel(*arguments)
            inside.append(time.thread_time() - start)
            return end
        return call

    for module in (advance, dense_advance):
        module.call = timed(module.call)
    result = engine.run(trace, config, costs, **options)
    inside.clear()
    run_s = cpu_s(lambda: engine.run(trace, config, costs, **options), repeats)
    loop_s = float(np.median(np.reshape(inside, (repeats, -1)).sum(axis=1)))
    statistics_s = cpu_s(lambda: latency(trace, result, ttft_slo_s=1.0, tpot_slo_s=0.05), min(repeats, 9))
    print(loop_s, run_s, statistics_s, result.steps)


def cpu_s(call: Callable[[], Any], repeats: int) -> float:
    """Median CPU seconds of a call."""
    seconds = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        seconds.append(time.thread_time() - start)
    return float(np.median(seconds))


def peak_bytes(trace: Trace) -> int:
    """Most memory that a run takes at any time, its result included, the trace not."""
    costs = costs_of(ROOMY)
    tracemalloc.start()
    engine.run(trace, ROOMY, costs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def trace_of(kind: str, n: int, load: float | None, config: SchedulerConfig, seed: int = 0) -> Trace:
    """`n` requests, Poisson arrivals at `load` times the throughput of the same requests all at once (None: so)."""
    rng = np.random.default_rng(seed)
    prompt, output = (column.astype(np.int32) for column in lengths_of(kind, n, rng))
    most = min(n, 20_000)
    burst = Trace(np.zeros(most, np.int64), prompt[:most], output[:most])
    if load is None:
        return burst
    ns_per_request = engine.run(burst, config, costs_of(config)).makespan_ns / most
    return Trace(np.cumsum(rng.exponential(ns_per_request / load, n)).astype(np.int64), prompt, output)


def lengths_of(kind: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Prompt and output tokens."""
    if kind == "azure_conv":
        shared = Path(os.environ.get("LLMSIM_SHARED", ROOT.parent / "shared"))
        with gzip.open(shared / "data" / "traces" / "AzureLLMInferenceTrace_conv.csv.gz", "rt") as file:
            table = np.array([[int(row["ContextTokens"]), int(row["GeneratedTokens"])] for row in csv.DictReader(file)])
        table = np.clip(table[rng.integers(0, len(table), n)], 1, 8192)
        return table[:, 0], table[:, 1]
    # means, spreads of the logarithm, longest: shapes of simulator-speed studies, not fits
    mean_in, mean_out, spread_in, spread_out, most = {
        "sharegpt": (159, 332, 1.0, 1.0, 8192),
        "reasoning": (300, 3907, 0.8, 0.6, 16_384),
    }[kind]
    draw = [rng.lognormal(np.log(mean) - spread**2 / 2, spread, n) for mean, spread in
            ((mean_in, spread_in), (mean_out, spread_out))]  # fmt: skip
    return np.clip(draw[0].astype(int), 1, most), np.clip(draw[1].astype(int), 1, most)


def with_shared_prefixes(n: int, load: float | None, config: SchedulerConfig) -> Trace:
    """ShareGPT-like requests that begin with one of 200 system prompts of 512 tokens (Zipf-distributed)."""
    rng = np.random.default_rng(1)
    own, output = lengths_of("sharegpt", n, rng)
    stream, length = np.empty(2 * n, np.int64), np.empty(2 * n, np.int64)
    stream[0::2], stream[1::2] = rng.zipf(1.3, n) % 200, 10_000_000 + np.arange(n)
    length[0::2], length[1::2] = 512, own

    def cut(m: int, arrival: np.ndarray) -> Trace:
        segments = Segments(np.arange(0, 2 * m + 1, 2), stream[: 2 * m], np.zeros(2 * m, np.int64), length[: 2 * m])
        return Trace(arrival, (own[:m] + 512).astype(np.int32), output[:m].astype(np.int32), segments=segments)

    most = min(n, 5_000)
    if load is None:
        return cut(most, np.zeros(most, np.int64))
    makespan_ns = engine.run(cut(most, np.zeros(most, np.int64)), config, costs_of(config)).makespan_ns
    return cut(n, np.cumsum(rng.exponential(makespan_ns / most / load, n)).astype(np.int64))


def costs_of(config: SchedulerConfig) -> StepCosts:
    """Weights read once or compute per token, KV read per decode, quadratic prefill attention, host time."""
    tokens, sequences = np.arange(config.max_num_batched_tokens + 1), np.arange(config.max_num_seqs + 1)
    contexts = np.concatenate([[0.0], 2.0 ** np.arange(6, 16)])
    chunks = np.concatenate([[0.0, 16.0], 2.0 ** np.arange(6, 14)])
    stages = config.pipeline_parallel_size
    return StepCosts(
        linear_ns=np.maximum(6_000_000, 30_000 * tokens),
        decode_ns=45.0 * sequences[:, None] * contexts[None, :] + 20_000.0 * (sequences[:, None] > 0),
        decode_spread_ns=np.zeros(len(sequences)),
        channels=0, channel_request_ns=0.0, channel_token_ns=0.0,
        prefill_ns=chunks[:, None] * (200.0 + 0.35 * (contexts[None, :] + chunks[:, None] / 2)),
        chunk_knots=chunks, context_knots=contexts,
        stage_layers=np.full(stages, 32 // stages),
        stage_tokens_ns=np.zeros((stages, len(tokens)), np.int64),
        stage_sequences_ns=np.zeros((stages, len(sequences)), np.int64),
        host_ns=150_000 + 1_500 * sequences,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
