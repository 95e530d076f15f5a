"""Replays Vidur's workload with Vidur's own tables and step formula and compares schedule, step times and requests.

    python scripts/validate_vidur.py DIR [--json FILE]

DIR holds A34_workload, A34_pred_* (the tables) and A34_{sarathi,vllm}_{batch,request}_metrics, CSV, gzipped. What is
compared is the scheduler and the engine, not the tables: Vidur's formula prices every batch,

    48 x (linear ops + decode x 1.1 if several + prefill x 1.1 if several + 2 x (all-reduce + 0.02 ms))

with linear operators at the tokens rounded up to 8, decode at the next multiple of 64 above the mean context, prefill at
the summed context rounded up to 64 and the square root of the summed squared chunks. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, finish, json_option, row
from simulator.engine import reference
from simulator.engine.batch_time import StepTime
from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from simulator.pricing.step import StepCosts
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.policies.sarathi import Sarathi
from simulator.scheduler.policies.vllm_v0 import VllmV0
from simulator.scheduler.requests import Batch, Entry
from simulator.scheduler.scheduler import Scheduler
from simulator.workload.trace import Trace

LAYERS, SEVERAL, COLLECTIVE_MS = 48, 1.1, 0.02
KV_STEP, TOKEN_STEP = 64, 8
BLOCKS, MAX_SEQS, MAX_LEN = 27_904, 128, 4096
STEP_BAR, REQUEST_BAR = 0.01, 0.1  # per cent


class PaddedPrompts(VllmV0):
    """Vidur's vLLM 0.x counts a prompt batch as its longest prompt times its number of prompts."""

    def admit(self, batch: Batch, budget: int, cap: int) -> int:
        limit, longest = budget, 0
        while self.waiting:
            longest = max(longest, self.waiting[0].missing)
            if longest * (len(batch.entries) + 1) > limit:
                break
            before = len(batch.entries)
            waiting, self.waiting = self.waiting[1:], self.waiting[:1]
            super().admit(batch, limit, cap)
            self.waiting += waiting
            if len(batch.entries) == before:
                break
        return limit


class Tables:
    """Vidur's predictions, milliseconds per layer."""

    def __init__(self, folder: Path) -> None:
        self.linear = {int(r["num_tokens"]): {k: float(v) for k, v in r.items() if k != "num_tokens"}
                       for r in _read(folder, "A34_pred_linear_ops")}
        self.decode = {(int(r["batch_size"]), int(r["kv_cache_size"])): float(r["prediction"])
                       for r in _read(folder, "A34_pred_attn_decode")}
        self.prefill = {(int(r["kv_cache_size"]), int(r["prefill_chunk_size_squared"])): float(r["prediction"])
                        for r in _read(folder, "A34_pred_attn_prefill")}

    def step_ns(self, entries: Sequence[Entry]) -> int:
        """Time of a batch."""
        tokens = sum(e.new for e in entries)
        ops = self.linear[_up(tokens, TOKEN_STEP)]
        total = sum(ms for name, ms in ops.items() if name not in ("all_reduce", "attn_kv_cache_save"))
        total += self.linear[tokens]["attn_kv_cache_save"] + 2 * (ops["all_reduce"] + COLLECTIVE_MS)
        decodes = [e.computed for e in entries if e.computed >= e.request.prompt]
        chunks = [e for e in entries if e.computed < e.request.prompt]
        if decodes:
            context = (sum(decodes) // len(decodes) // KV_STEP + 1) * KV_STEP  # a full step counts as begun
            total += self.decode[len(decodes), context] * (SEVERAL if len(decodes) > 1 else 1)
        if chunks:
            side = round(math.sqrt(sum(e.new**2 for e in chunks)))
            context = _up(sum(e.computed for e in chunks), KV_STEP)
            total += self.prefill[context, side**2] * (SEVERAL if len(chunks) > 1 else 1)
        return round(LAYERS * total * 1e6)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=Path, metavar="DIR")
    json_option(parser)
    args = parser.parse_args(argv)
    try:
        tables = Tables(args.dir)
        workload = sorted(_read(args.dir, "A34_workload"), key=lambda r: float(r["arrived_at"]))
        rows = [r for name, scheduler, budget in (("sarathi", Sarathi, 512), ("vllm", PaddedPrompts, 4096))
                for r in _compare(name, _replay(workload, tables, scheduler, budget), args.dir, workload)]
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return finish(rows, args.json)


def _replay(workload: list[dict[str, str]], tables: Tables, scheduler: type[Scheduler], budget: int) -> EngineResult:
    def pricer(entries: Sequence[Entry], _tables: object, _swapped: int) -> StepTime:
        ns = tables.step_ns(entries)
        return StepTime(0, [ns], ns, 0, 0, sum(e.new for e in entries), 0, 0, 0, 0, 0, 0)

    trace = Trace(np.rint([float(r["arrived_at"]) * 1e9 for r in workload]).astype(np.int64),
                  np.array([int(r["num_prefill_tokens"]) for r in workload], np.int32),
                  np.array([int(r["num_decode_tokens"]) for r in workload], np.int32))
    config = SchedulerConfig(MAX_SEQS, budget, 16, BLOCKS + 1, MAX_LEN + 1, enable_chunked_prefill=True)
    none, seqs = np.zeros((1, budget + 1), np.int64), np.zeros(MAX_SEQS + 1, np.int64)
    costs = StepCosts(none[0], np.zeros((MAX_SEQS + 1, 2)), np.zeros(MAX_SEQS + 1), 0, 0.0, 0.0, np.zeros((2, 2)),
                      np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([LAYERS]), none, seqs[None], seqs)
    return reference.run(trace, config, costs, scheduler=scheduler, pricer=pricer, log=True)


def _compare(name: str, result: EngineResult, folder: Path, workload: list[dict[str, str]]) -> list[Row]:
    batches = _read(folder, f"A34_{name}_batch_metrics")
    requests = sorted(_read(folder, f"A34_{name}_request_metrics"), key=lambda r: int(r["Request Id"]))
    theirs = np.array([[int(r["batch_num_tokens"]), int(r["batch_size"])] for r in batches])
    log = result.log
    assert log is not None
    ours = np.stack([log.tokens, log.n], axis=1)
    steps = min(len(ours), len(theirs))
    same = (ours[:steps] == theirs[:steps]).all(axis=1)
    first = int(np.argmin(same)) if not same.all() else steps
    times = np.array([float(r["batch_execution_time"]) for r in batches])[:first]
    off = np.abs((log.end_ns - log.start_ns)[:first] / 1e9 / times - 1) * 100
    arrival = np.array([float(r["arrived_at"]) for r in workload])
    e2e, ttft = (np.array([float(r[k]) for r in requests]) for k in ("request_e2e_time", "prefill_e2e_time"))
    worst = np.abs((result.finish_ns / 1e9) / (arrival + e2e) - 1) * 100
    return [
        row(f"{name}/steps", float(len(theirs)), "steps"),
        row(f"{name}/different_steps", float((~same).sum() + abs(len(ours) - len(theirs))), "steps", 0),
        row(f"{name}/step_time_worst_pct", float(off.max()), "%", STEP_BAR),
        row(f"{name}/e2e_mean_error_pct", float(((result.finish_ns / 1e9 - arrival).mean() / e2e.mean() - 1) * 100), "%",
            REQUEST_BAR, absolute=True),
        row(f"{name}/ttft_mean_error_pct", float(((result.first_token_ns / 1e9 - arrival).mean() / ttft.mean() - 1) * 100)),
        row(f"{name}/end_time_worst_pct", float(worst.max()), "%", REQUEST_BAR),
    ]


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


def _read(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / f"{name}.csv.gz"
    if not path.is_file():
        raise InputError("no such file", file=str(path))
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
