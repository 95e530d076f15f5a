"""Replays a recorded vLLM run on measured operator tables and compares latencies, throughput and load.

    python scripts/validate_serving.py --run DIR --tables DIR [--workload FILE] [--json FILE] [--plot FILE.html]

--run: meta.json, requests.jsonl and, where there are, timeseries.csv, cluster.json, llmservingsim_summary.txt (formats:
simulator.recorded.vllm_run). --tables: an LLMServingSim profile bundle (meta.yaml, tp1/, tp2/ ...). --workload: the
requests with their token ids, for prefix hits; looked for next to the run when not given. KV capacity is predicted; what
the run measured is only compared with. Latencies count from when the engine took a request in, which it does between two steps
(vLLM's queued_ts), on both sides. Exits 1 when a bar is missed, 2 for input that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, errors, finish, json_option, row
from simulator.commands.chart_page import Chart, Line, write_charts
from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.recorded.kernel_time import window_s
from simulator.recorded.replay import beyond, prepared, replay
from simulator.recorded.vllm_run import RecordedRun, read_run, workload_of

STATISTICS = {"mean": np.mean, **{f"p{q}": (lambda v, q=q: np.percentile(v, q)) for q in (50, 90, 95, 99)}}
BARS = {"ttft": 3.0, "tpot": 1.5, "e2e": 1.5}  # per cent, on mean and p99
BLOCKS_BAR = 2.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workload", type=Path, metavar="FILE")
    parser.add_argument("--hardware", help="preset in configs/hardware, where the run's names none")
    parser.add_argument("--model", help="preset in configs/models or a Hugging Face config.json")
    json_option(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.html", help="latency CDFs and load over time")
    args = parser.parse_args(argv)
    try:
        run = read_run(args.run)
        design, table = prepared(run, args.tables, hardware=args.hardware, model=args.model)
        trace = workload_of(run, args.run, args.workload)
        for note in beyond(design, table, trace):
            print(f"extrapolated, {note}", file=sys.stderr)
        priced, result = replay(design, table, trace, run.data_parallel, CostCache())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    engines = f" x {run.data_parallel} engines" if run.data_parallel > 1 else ""
    print(f"{run.name}: {run.model} on {design.hardware.name}, TP {design.parallelism.tensor}{engines}, vLLM {run.vllm_version}, "
          f"{len(trace)} requests, {priced.scheduler.num_gpu_blocks} KV blocks predicted, {result.steps} steps, "
          f"{int(result.preemptions.sum())} preemptions\n")
    summary = args.run / "llmservingsim_summary.txt"
    rows = compare(run, result, _peer(summary) if summary.is_file() else {})
    if run.num_gpu_blocks is not None:
        off = (priced.scheduler.num_gpu_blocks / run.num_gpu_blocks - 1) * 100
        rows.append(row("kv_blocks/error_pct", off, "%", BLOCKS_BAR, absolute=True))
    rows += load(run, result) + held_out(run, result)
    if args.plot:
        _plot(run, result, args.plot)
    print()
    return finish(rows, args.json)


def latencies(arrival_s: np.ndarray, first_s: np.ndarray, finish_s: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
    """TTFT, TPOT (requests of one token left out) and E2E in seconds."""
    several = outputs > 1
    return {"ttft": first_s - arrival_s, "tpot": (finish_s - first_s)[several] / (outputs[several] - 1),
            "e2e": finish_s - arrival_s}


def taken_s(run: RecordedRun, result: EngineResult) -> np.ndarray:
    """When the simulated engine took each request in: at the first decision after it arrived."""
    assert result.log is not None
    decided_s = result.log.scheduled_ns / 1e9
    after = np.minimum(np.searchsorted(decided_s, run.arrival_s - 1e-9), len(decided_s) - 1)
    return np.maximum(decided_s[after], run.arrival_s)


def compare(run: RecordedRun, result: EngineResult, peer: dict[str, float]) -> list[Row]:
    """Prints the table of latencies and gives its rows."""
    served = result.finish_ns >= 0
    measured = latencies(run.arrival_s[served], run.first_token_s[served], run.finish_s[served], run.output_tokens[served])
    found = latencies(taken_s(run, result)[served], result.first_token_ns[served] / 1e9, result.finish_ns[served] / 1e9,
                      run.output_tokens[served])
    rows: list[Row] = [row("requests/rejected", float((~served).sum()), "requests", 0)]
    print(f"{'':14}{'measured':>14}{'simulated':>14}{'error':>9}{'peer':>9}")
    for name in ("ttft", "tpot", "e2e"):
        for statistic, of in STATISTICS.items():
            real, simulated = float(of(measured[name])), float(of(found[name]))
            off = (simulated / real - 1) * 100
            theirs = peer.get(f"{name}/{statistic}")
            print(f"{name.upper() + ' ' + statistic:14}{real * 1e3:11,.2f} ms{simulated * 1e3:11,.2f} ms{off:+8.2f}%"
                  + ("" if theirs is None else f"{theirs:+8.1f}%"))
            bar = BARS[name] if statistic in ("mean", "p99") else None
            label = "median" if statistic == "p50" else statistic
            rows.append(row(f"{name}/{label}_error_pct", off, "%", bar, absolute=True))
            if theirs is not None:
                rows.append(row(f"{name}/{label}_error_pct_peer", theirs))
        rows += errors(f"{name}_by_request", (found[name] / measured[name] - 1) * 100)
    tokens = float(run.output_tokens[served].sum())
    real = tokens / float(run.finish_s[served].max())
    simulated = tokens / (float(result.finish_ns.max()) / 1e9)
    print(f"{'throughput':14}{real:9,.1f} tok/s{simulated:9,.1f} tok/s{(simulated / real - 1) * 100:+7.2f}%")
    rows.append(row("throughput/error_pct", (simulated / real - 1) * 100))
    return rows


def load(run: RecordedRun, result: EngineResult) -> list[Row]:
    """How far running and waiting requests over time are from the recorded ones: mean absolute difference, as a share of
    the recorded mean."""
    if not {"t", "running", "waiting"} <= run.load.keys() or result.log is None:
        return []
    rows = []
    at = np.searchsorted(result.log.end_ns / 1e9, run.load["t"], side="left")
    inside = at < len(result.log.end_ns)
    for name, series in (("running", result.log.running), ("waiting", result.log.waiting)):
        real, simulated = run.load[name][inside], series[at[inside]]
        if real.mean() > 0:
            rows.append(row(f"{name}/mean_difference_pct", float(np.abs(simulated - real).mean() / real.mean() * 100)))
    return rows


def held_out(run: RecordedRun, result: EngineResult) -> list[Row]:
    """Errors over the requests that began after the part of a run that `python -m simulator calibrate` looks at: what a
    device calibrated on this very run has not seen. Without bars; of other runs nothing has been seen."""
    late = (run.first_token_s > window_s(run)) & (result.finish_ns >= 0)
    if not late.any():
        return []
    outputs = run.output_tokens[late]
    measured = latencies(run.arrival_s[late], run.first_token_s[late], run.finish_s[late], outputs)
    found = latencies(taken_s(run, result)[late], result.first_token_ns[late] / 1e9, result.finish_ns[late] / 1e9, outputs)
    return [row(f"last_two_thirds/{name}/{label}_error_pct",
                (float(STATISTICS[label](found[name])) / float(STATISTICS[label](measured[name])) - 1) * 100)
            for name in measured if len(measured[name]) for label in ("mean", "p99")]


def _peer(summary: Path) -> dict[str, float]:
    """Errors in per cent that the peer's summary claims, by our row names."""
    names = {"TTFT": "ttft", "TPOT": "tpot", "Latency": "e2e"}
    statistics = {"Mean": "mean", "Median": "p50", "P90": "p90", "P95": "p95", "P99": "p99"}
    found = {}
    for line in summary.read_text().splitlines():
        words = line.split()
        if len(words) == 5 and words[0] in names and words[1] in statistics:
            found[f"{names[words[0]]}/{statistics[words[1]]}"] = float(words[4].rstrip("%"))
    return found


def _plot(run: RecordedRun, result: EngineResult, file: Path) -> None:
    real = latencies(run.arrival_s, run.first_token_s, run.finish_s, run.output_tokens)
    found = latencies(taken_s(run, result), result.first_token_ns / 1e9, result.finish_ns / 1e9, run.output_tokens)
    charts = [Chart(name.upper(), "seconds", "share of requests", [
        Line(label, np.sort(values), np.linspace(0, 1, len(values)), color)
        for label, values, color in (("measured", real[name], "black"), ("simulated", found[name], "red"))]) for name in real]
    log, load = result.log, []
    assert log is not None
    for label in ("running", "waiting"):
        if label in run.load:
            load.append(Line(f"{label} measured", run.load["t"], run.load[label], "black", label == "waiting"))
        load.append(Line(f"{label} simulated", log.end_ns / 1e9, getattr(log, label), "red", label == "waiting"))
    write_charts([*charts, Chart("load", "seconds", "requests", load)], str(file))


if __name__ == "__main__":
    sys.exit(main())
