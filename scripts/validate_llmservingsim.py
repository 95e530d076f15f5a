"""Replays LLMServingSim's own simulation with its own cost rules on our scheduler, request by request.

    python scripts/validate_llmservingsim.py --sim SIM.csv --tables DIR --workload FILE [--json FILE]

SIM.csv (may be gzipped): its per-request output (arrival, end_time, TTFT in ns). --tables: the profile bundle it was given.
--workload: the requests with their token ids (prefix hits). --max-num-seqs, --max-num-batched-tokens: its limits.
The mode copies its rules (`LlmServingSimPricer`), which are not ours: all chunks of a step are one chunk, decodes are all at
their mean context plus a share of the way to the longest, nothing overlaps and the host costs nothing. What is compared is
the schedule, the prefix cache and the arithmetic. Exits 1 when an end time is off by more than 0.1 %.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gzip
import sys
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import finish, json_option, row
from simulator.design.load import resolve
from simulator.engine import reference
from simulator.engine.batch_time import StepTime
from simulator.importers import llmservingsim
from simulator.inputs.errors import InputError
from simulator.inputs.yaml_file import load_yaml
from simulator.pricing.step import StepCosts
from simulator.recorded.vllm_run import preset_named
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.requests import Entry
from simulator.workload.trace_files import read_trace

BAR = 0.1  # per cent
BLOCK_LAYERS = ("layernorm", "qkv_proj", "rotary_emb", "o_proj", "layernorm", "gate_up_proj", "act_fn", "down_proj")
ENDS = (("embedding", "tokens"), ("final_layernorm", "tokens"), ("lm_head", "sequences"), ("sampler", "sequences"))


class LlmServingSimPricer:
    """The price of a step as LLMServingSim computes it (serving/core/trace_generator.py), in ns."""

    def __init__(self, folder: Path, layers: int, skew: Skew | None) -> None:
        self.layers, self.skew = layers, skew
        self.tables: dict[str, tuple[list[int], list[int]]] = {}
        for file, axis in (("dense.csv", "tokens"), ("per_sequence.csv", "sequences")):
            raw: dict[str, Any] = dict(llmservingsim.read_csv(folder / file, ("layer", axis, "time_us")))
            for layer in sorted(set(raw["layer"].tolist())):
                of = raw["layer"] == layer
                order = np.argsort(raw[axis][of])
                self.tables[layer] = (raw[axis][of][order].tolist(), np.rint(raw["time_us"][of][order] * 1e3).astype(int).tolist())
        raw = dict(llmservingsim.read_csv(folder / "attention.csv", llmservingsim.ATTENTION_COLUMNS))
        self.slices: dict[tuple[int, int], dict[int, tuple[list[int], list[int]]]] = {}
        rows = sorted(zip(*(raw[c].tolist() for c in llmservingsim.ATTENTION_COLUMNS), strict=True))
        for chunk, before, decodes, context, us in rows:
            keys, values = self.slices.setdefault((chunk, decodes), {}).setdefault(before, ([], []))
            keys.append(context)
            values.append(round(us * 1e3))
        self.chunks = sorted({c for c, _ in self.slices})
        self.decodes = sorted({d for _, d in self.slices})

    def __call__(self, entries: Sequence[Entry], _tables: Any, _swapped: int) -> StepTime:
        chunks = [e for e in entries if e.new > 1]
        contexts = [e.computed for e in entries if e.new == 1]
        tokens, n = sum(e.new for e in entries), len(entries)
        attention = self.attention(sum(e.new for e in chunks), sum(e.computed for e in chunks), contexts)
        block = sum(max(1, int(_at(*self.tables[layer], tokens))) for layer in BLOCK_LAYERS) + attention
        total = self.layers * block + sum(
            max(1, int(_at(*self.tables[layer], tokens if axis == "tokens" else n))) for layer, axis in ENDS)
        return StepTime(0, [total], total, 0, 0, tokens, len(contexts), sum(contexts), len(chunks), 0, 0, 0)

    def attention(self, chunk: int, before: int, contexts: list[int]) -> int:
        """One call for all: chunks summed to one, decodes at their mean and a share of the way to the longest."""
        mean = sum(contexts) // len(contexts) if contexts else 0
        at_mean = self.grid(chunk, before, len(contexts), mean)
        if len(contexts) <= 1 or max(contexts) == mean or self.skew is None:
            return max(1, round(at_mean))
        rate = (mean - min(contexts)) / (max(contexts) - min(contexts))
        share = self.skew.share(chunk, len(contexts), rate, max(contexts), before)
        longest = self.grid(chunk, before, len(contexts), max(contexts))
        return max(1, round(at_mean + share * max(longest - at_mean, 0)))

    def grid(self, chunk: int, before: int, decodes: int, context: int) -> int:
        """Linear in all four axes, the last cell continued beyond the grid."""
        c0, c1, tc = _bracket(self.chunks, chunk)
        d0, d1, td = _bracket(self.decodes, decodes)
        low = self.corner(c0, d0, before, context)
        low += td * (self.corner(c0, d1, before, context) - low)
        high = self.corner(c1, d0, before, context)
        high += td * (self.corner(c1, d1, before, context) - high)
        return max(1, int(low + tc * (high - low)))

    def corner(self, chunk: int, decodes: int, before: int, context: int) -> float:
        by_before = self.slices.get((chunk, decodes))
        if by_before is None:
            nearest = min(sorted(self.slices), key=lambda p: (p[0] - chunk) ** 2 + (p[1] - decodes) ** 2)
            by_before = self.slices[nearest]
        b0, b1, tb = _bracket(sorted(by_before), before)
        low, high = (_at(*by_before[b], context) for b in (b0, b1))
        return low + tb * (high - low)


@dataclasses.dataclass(frozen=True)
class Skew:
    """Its fitted share of the way from the mean to the longest context, by bucket (meta.yaml, skew_fit.csv)."""

    axes: dict[str, list[Any]]
    default: float
    shares: dict[tuple[str, ...], float]

    def share(self, chunk: int, n: int, rate: float, longest: int, before: int) -> float:
        labels = (_label(self.axes, name, value) for name, value in
                  (("n", n), ("skew_rate", min(max(rate, 0.0), 1.0)), ("kv_big", longest), ("kp", before)))
        return self.shares.get((str(chunk), *labels), self.default)


def read_skew(folder: Path, tensor: int) -> Skew | None:
    """The bundle's fit; None where it has none."""
    meta: Any = load_yaml(folder / "meta.yaml")
    fit = meta.get("skew_fit") or {}
    if not fit.get("enabled"):
        return None
    entry = {str(degree): found for degree, found in fit["per_tp"].items()}[str(tensor)]
    columns = ("pc", "n_label", "skew_rate_label", "kv_big_label", "kp_label", "alpha")
    raw = llmservingsim.read_csv(folder / entry["bucket_table"], columns)
    shares = {tuple(str(v) for v in key): float(alpha) for *key, alpha in zip(*(raw[c].tolist() for c in columns), strict=True)}
    return Skew(fit["bucket_axes"], float(entry["alpha_default"]), shares)


def _label(axes: dict[str, list[Any]], name: str, value: float) -> str:
    bins, labels = axes[f"{name}_bins"], axes[f"{name}_labels"]
    return str(next((label for label, top in zip(labels, bins[1:], strict=True) if value <= top), labels[-1]))


def _bracket(values: list[int], at: int) -> tuple[int, int, float]:
    if len(values) == 1 or at <= values[0]:
        return values[0], values[0], 0.0
    right = min(bisect_right(values, at), len(values) - 1)
    low, high = values[right - 1], values[right]
    return low, high, (at - low) / (high - low)


def _at(keys: list[int], values: list[int], at: int) -> float:
    low, high, share = _bracket(keys, at)
    first, second = values[keys.index(low)], values[keys.index(high)]
    return first + share * (second - first)


def _no_costs(config: SchedulerConfig) -> StepCosts:
    """Tables that the pricer does not look at."""
    tokens, sequences = np.zeros(config.max_num_batched_tokens + 1, np.int64), np.zeros(config.max_num_seqs + 1, np.int64)
    knots = np.array([0.0, 1.0])
    return StepCosts(tokens, np.zeros((len(sequences), 2)), np.zeros(len(sequences)), 0, 0.0, 0.0, np.zeros((2, 2)), knots, knots,
                     np.array([1]), tokens[None, :], sequences[None, :], sequences)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sim", type=Path, required=True, metavar="FILE")
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workload", type=Path, required=True, metavar="FILE")
    parser.add_argument("--max-num-seqs", type=int, default=128)
    parser.add_argument("--max-num-batched-tokens", type=int, default=2048)
    json_option(parser)
    args = parser.parse_args(argv)
    try:
        with (gzip.open if args.sim.suffix == ".gz" else open)(args.sim, "rt", newline="") as file:
            theirs = sorted(csv.DictReader(file), key=lambda r: int(r["request id"]))
        trace = read_trace(str(args.workload))
        bundle = llmservingsim.read_meta(args.tables)
        design = resolve({"model": preset_named(bundle.model, "models"), "hardware": preset_named(bundle.gpu, "hardware"),
                          "workload": "chat-200"})
        pricer = LlmServingSimPricer(bundle.folder / "tp1", design.model.layers, read_skew(bundle.folder, 1))
    except (InputError, OSError, KeyError) as error:
        print(f"{args.sim}: no column {error}" if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    config = SchedulerConfig(args.max_num_seqs, args.max_num_batched_tokens, 16, 40_000, design.model.max_positions,
                             enable_prefix_caching=True)
    result = reference.run(trace, config, _no_costs(config), pricer=pricer)
    end, first = (np.array([int(r[c]) for r in theirs]) for c in ("end_time", "TTFT"))
    if len(end) != len(trace):
        print(f"{args.sim}: has {len(end)} requests, the workload {len(trace)}", file=sys.stderr)
        return 2
    off = np.abs(result.finish_ns / end - 1) * 100
    ttft = np.abs((result.first_token_ns - trace.arrival_ns) / first - 1) * 100
    for i in range(min(6, len(end))):
        print(f"request {i}: first token {(result.first_token_ns - trace.arrival_ns)[i]:,} / {first[i]:,} ns, "
              f"end {result.finish_ns[i]:,} / {end[i]:,} ns")
    return finish([row("end_time/worst_pct", float(off.max()), "%", BAR),
                   row("end_time/worst_ns", float(np.abs(result.finish_ns - end).max()), "ns"),
                   row("ttft/worst_pct", float(ttft.max()))], args.json)


if __name__ == "__main__":
    sys.exit(main())
