"""Random designs over the whole schema, every feature combined, and what must hold for each of them.

    python scripts/fuzz_designs.py --count 1000 --seed 0

A design is a shipped one with random `--set` keys, as the command line takes them. One that cannot serve must say so
(`InputError` or `Infeasible`); of any other:

    reference   the reference engine gives the kernel's metrics, bit for bit (designs of few requests)
    cached      a cost cache shared by all designs gives the metrics of none
    monotone    twice the bandwidth of memory or links, or half the host's time, never makes a step slower
    conserved   every request is finished in order of its times or rejected; tokens add up
    bounded     shares are at most 1, throughput and energy positive, goodput at most throughput
    ordered     percentiles ascend, TTFT <= E2E

A failure is printed as the shortest command that still fails. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import math
import shlex
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import finish, json_option, measured, show
from simulator.design import units
from simulator.design.design import Design
from simulator.design.load import CONFIGS, load_design, parse_override, validate
from simulator.inputs.errors import InputError
from simulator.prepare import prepare
from simulator.pricing.cache import CostCache
from simulator.pricing.step import StepCosts
from simulator.result import Infeasible, Result
from simulator.simulate import simulate

NAMES = {kind: sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml"))
         for kind in ("designs", "models", "hardware", "engines", "workloads")}
SMALL = ("llama-3.2-1b", "llama-3.1-8b", "qwen3-8b", "mistral-7b", "opt-6.7b", "gpt-oss-20b", "qwen3-30b-a3b", "gemma-3-27b")
REFERENCE_TOKENS = 20_000  # of a trace that the reference engine serves too: it takes some 20 us a token
TINY = 1e-9  # relative: sums of floats

UNFILTERED = 0.1  # share of designs that are left as drawn: most of them are refused
_TRIED = CostCache()

Set = list[str]  # of --set words


@dataclass
class Outcome:
    """What became of a design: `served`, `refused` or the name of the invariant that does not hold, with words."""

    kind: str
    words: str = ""


@dataclass
class Campaign:
    """Counts, and the failures as (invariant, words, command)."""

    kinds: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


def drawn(seed: int) -> tuple[str, Set]:
    """A base design and `--set` words."""
    rng = np.random.default_rng(seed)

    def pick(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    def number(low: float, high: float) -> float:
        """Log-uniform, to three digits."""
        return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")

    said: Set = [f"workload={_workload(pick, chance, number)}"]
    base = pick(*NAMES["designs"])
    if chance(0.8):
        said.append(f"model={pick(*SMALL) if chance(0.7) else pick(*NAMES['models'])}")
    hardware = pick(*NAMES["hardware"]) if chance(0.8) else ""
    said += [f"hardware={hardware}"] if hardware else []
    said += [f"engine={pick(*NAMES['engines'])}"] if chance(0.3) else []
    rare: list[tuple[float, str, Callable[[], Any]]] = [
        (0.8, "parallelism.tensor", lambda: pick(1, 2, 4, 8, 8, 16)), (0.3, "parallelism.pipeline", lambda: pick(1, 2, 3, 4)),
        (0.3, "parallelism.replicas", lambda: pick(1, 2, 3)), (0.15, "parallelism.expert_parallel", lambda: "true"),
        (0.7, "serving.max_num_seqs", lambda: pick(1, 2, 7, 32, 256)),
        (0.6, "serving.max_num_batched_tokens", lambda: pick(16, 64, 300, 2048, 8192)),
        (0.3, "serving.max_model_len", lambda: pick(64, 500, 4096, "auto")),
        (0.3, "serving.block_size", lambda: pick(1, 8, 16, 32, 128)),
        (0.3, "serving.num_gpu_blocks", lambda: pick(2, 20, 100, 1000)),
        (0.2, "serving.memory_utilization", lambda: pick(0.3, 0.95, 1.0)),
        (0.3, "serving.enable_chunked_prefill", lambda: pick("true", "false")),
        (0.4, "serving.enable_prefix_caching", lambda: pick("true", "false")),
        (0.2, "serving.long_prefill_token_threshold", lambda: pick(0, 16, 100)),
        (0.2, "serving.policy", lambda: pick("fcfs", "priority")),
        (0.4, "serving.async_scheduling", lambda: pick("true", "false")),
        (0.3, "serving.preemption", lambda: pick("recompute", "swap")),
        (0.1, "serving.swap_to", lambda: pick("host", "cxl")), (0.3, "serving.cuda_graphs", lambda: pick("true", "false")),
        (0.2, "serving.scheduler_reserve_full_isl", lambda: pick("true", "false")),
        (0.2, "serving.watermark", lambda: pick(0.0, 0.01, 0.5)),
        (0.3, "precision.weights", lambda: pick("bf16", "fp8", "int8", "int4")),
        (0.3, "precision.activations", lambda: pick("bf16", "fp8", "int8")),
        (0.3, "precision.kv", lambda: pick("bf16", "fp8")), (0.2, "hardware.memory.bandwidth", lambda: f"{number(1e10, 1e13)} B/s"),
        (0.2, "hardware.memory.capacity", lambda: f"{number(1e10, 1e12)} B"),
        (0.2, "hardware.memory.stacks", lambda: pick(1, 4, 8)),
        (0.3, "hardware.link.bandwidth", lambda: f"{number(1e9, 1e12)} B/s"),
        (0.2, "hardware.link.topology", lambda: pick("ring", "fully_connected", "switch", "torus_2d", "torus_3d")),
        (0.1, "hardware.link.latency", lambda: f"{number(1e-9, 1e-3)} s"),
        (0.2, "hardware.max_devices_per_node", lambda: pick(1, 2, 3, 8)),
        (0.1, "hardware.host.step", lambda: f"{number(1e-6, 1.0)} s"), (0.1, "hardware.kernel_time", lambda: pick(0.5, 1.5)),
        (0.1, "hardware.power_cap", lambda: f"{number(100, 2000)} W"),
        (0.2, "hardware.npu.array", lambda: pick("[8, 8]", "[128, 64]", "[512, 512]")),
        (0.2, "hardware.npu.arrays", lambda: pick(1, 3, 64)), (0.1, "hardware.npu.clock", lambda: f"{number(1e8, 5e9)} Hz"),
        (0.2, "hardware.pim.placement", lambda: pick("none", "local", "pooled")),
        (0.2, "hardware.pim.sub_batches", lambda: pick("never", "always", "auto")),
        (0.1, "hardware.pim.mapping", lambda: pick("head", "request")),
        (0.1, "hardware.pim.stacks_per_npu", lambda: pick(0.5, 1, 8)),
        (0.1, "hardware.pim.unit", lambda: pick("bank", "bank_group", "buffer")),
        (0.1, "hardware.decode_attention", lambda: pick("auto", "device", "pim")),
        (0.1, "hardware.gpu.clock", lambda: f"{number(5e8, 3e9)} Hz"),
        (0.3, "slo.ttft", lambda: f"{number(1e-3, 10)} s"), (0.3, "slo.tpot", lambda: f"{number(1e-4, 1)} s"),
        (0.1, "slo.e2e", lambda: f"{number(1e-2, 100)} s"), (0.5, "slo.allow_rejected", lambda: pick(0.5, 1.0)),
    ]
    said += [f"{key}={value()}" for share, key, value in rare if chance(share)]
    return base, said if chance(UNFILTERED) else _legal(base, said)


def _legal(base: str, said: Set) -> Set:
    """The words that a design takes one after the other, so that most designs can be simulated."""
    kept: Set = []
    for word in said:
        with contextlib.suppress(InputError, Infeasible):
            prepare(load_design(base, dict(parse_override(text) for text in [*kept, word])), _TRIED)
            kept.append(word)
    return kept


def _workload(pick: Callable[..., Any], chance: Callable[[float], bool], number: Callable[[float, float], float]) -> str:
    def lengths() -> str:
        return pick(f"{{distribution: fixed, mean: {number(1, 800):.0f}}}", "{distribution: uniform, low: 1, high: 600}",
                    f"{{distribution: lognormal, mean: {number(2, 500)}, cv: {number(0.1, 3)}}}",
                    "{distribution: empirical, values: [1, 16, 17, 900]}")
    load = (f"concurrency: {pick(1, 3, 16)}" if chance(0.2) else
            f"arrivals: {{process: {pick('poisson', 'constant', 'burst', 'gamma')}, rate: {number(0.05, 500)} requests/s, cv: 2.0, "
            f"burst_size: {pick(1, 5)}}}")
    return (f"{{{load}, prompt: {lengths()}, output: {lengths()}, requests: {pick(1, 2, 20, 60)}, seed: {pick(0, 1, 2)}, "
            f"max_output_tokens: {pick(30, 200)}}}")


def outcome(base: str, said: Set, shared: CostCache, checked: Counter[str]) -> Outcome:
    """Loads, serves and checks a design."""
    try:
        design = load_design(base, dict(parse_override(text) for text in said))
        result = simulate(design)
    except (InputError, Infeasible):
        return Outcome("refused")
    for name, holds in CHECKS.items():
        words = holds(design, result, shared)
        if words is None:
            continue
        checked[name] += 1
        if words:
            return Outcome(name, words)
    return Outcome("served")


def _same(one: dict[str, float], other: dict[str, float]) -> str:
    different = [name for name in {**one, **other} if repr(one.get(name)) != repr(other.get(name))]
    return ", ".join(f"{name} {one.get(name)} against {other.get(name)}" for name in different[:3])


def reference(design: Design, result: Result, _: CostCache) -> str | None:
    if sum(int(r.trace.prompt_tokens.sum(dtype=np.int64)) // 64 + int(r.trace.output_tokens.sum(dtype=np.int64))
           for r in result.replicas) > REFERENCE_TOKENS:
        return None
    return _same(result.metrics, simulate(design, use_reference=True).metrics)


def cached(design: Design, result: Result, shared: CostCache) -> str:
    return _same(result.metrics, simulate(design, cache=shared).metrics)


def monotone(design: Design, result: Result, shared: CostCache) -> str:
    """Step tables of faster hardware against these, entry by entry; tables may round up by 1 ns. Without a power cap: faster
    memory and links draw more, which a cap takes from the clock."""
    base = design.to_plain()
    base["hardware"].pop("power_cap", None)
    try:
        costs = prepare(validate(base), shared).costs
    except (InputError, Infeasible):
        return ""
    for section, key, factor in (("memory", "bandwidth", 2.0), ("link", "bandwidth", 2.0), ("host", "step", 0.5)):
        plain = copy.deepcopy(base)
        value = plain["hardware"][section].get(key)
        if value is None:
            continue
        unit = "s" if section == "host" else "B/s"
        plain["hardware"][section][key] = units.show(units.parse(value, unit) * factor, unit)
        try:
            faster = prepare(validate(plain), shared).costs
        except (InputError, Infeasible):
            continue
        slower = _slower(costs, faster)
        if slower:
            return f"{section}.{key} x {factor:g} makes {slower}"
    return ""


def _slower(costs: StepCosts, faster: StepCosts) -> str:
    for name in ("tokens", "decode_ns", "prefill_ns", "stage_sequences_ns", "host_ns"):
        old, new = (_by_tokens(c) if name == "tokens" else np.asarray(getattr(c, name), float) for c in (costs, faster))
        if old.shape == new.shape and (worse := new - old > 2 + 1e-6 * old).any():
            at = tuple(int(i) for i in np.argwhere(worse)[0])
            return f"{name}{list(at)} slower: {new[at]:g} for {old[at]:g} ns"
    return ""


def _by_tokens(costs: StepCosts) -> NDArray[np.float64]:
    """Each stage's linear time with what it waits for launches, which a faster device exposes: [stages, tokens]."""
    share = costs.stage_layers / costs.stage_layers.sum()
    return share[:, None] * costs.linear_ns[None, :] + costs.stage_tokens_ns


def conserved(design: Design, result: Result, _: CostCache) -> str:
    limit = result.priced.scheduler.max_model_len
    finished = prompts = 0
    for replica in result.replicas:
        trace, run = replica.trace, replica.run
        done = run.finish_ns >= 0
        times = np.stack([trace.arrival_ns, run.first_scheduled_ns, run.first_token_ns, run.finish_ns])[:, done]
        if (np.diff(times, axis=0) < 0).any():
            return "a request's times do not ascend"
        outputs = np.minimum(trace.output_tokens.astype(np.int64), limit - trace.prompt_tokens.astype(np.int64))[done]
        steps = int(run.steps_by_tokens @ np.arange(len(run.steps_by_tokens)))
        least = int((trace.prompt_tokens.astype(np.int64)[done] - run.cached_tokens[done] + outputs - 1).sum())
        if steps < least:
            return f"{steps} tokens were computed, {least} were needed"
        if int(run.preemptions.sum()) == 0 and steps != least and result.priced.scheduler.scheduler == "vllm_v1":
            # others run a row more where they see an end one step late
            return f"{steps} tokens were computed without a preemption, {least} were needed"
        gaps = int((outputs - 1).sum())
        if run.gap_counts is not None and int(run.gap_counts.sum()) != gaps:
            return f"{int(run.gap_counts.sum())} gaps between tokens, {gaps} expected"
        finished += int(done.sum())
        prompts += len(trace)
    metrics = result.metrics
    if finished + metrics["rejected"] != metrics["requests"] or prompts != metrics["requests"]:
        return f"{finished} finished, {metrics['rejected']:.0f} rejected, {metrics['requests']:.0f} requests"
    return ""


def bounded(design: Design, result: Result, _: CostCache) -> str:
    metrics = result.metrics
    for name in ("slo_attainment", "kv_use_mean", "kv_use_peak", "cached_prompt_share", "device_utilization", "pim_utilization",
                 "link_utilization"):
        if not -TINY <= metrics[name] <= 1 + TINY:
            return f"{name} is {metrics[name]}"
    for name in ("request_throughput", "output_throughput", "makespan", "energy", "power", "capital", "cost_per_hour", "steps"):
        if not 0 < metrics[name] < math.inf:
            return f"{name} is {metrics[name]}"
    if metrics["goodput"] > metrics["request_throughput"] * (1 + TINY):
        return f"goodput {metrics['goodput']} is above the throughput {metrics['request_throughput']}"
    return ""


def ordered(design: Design, result: Result, _: CostCache) -> str:
    metrics = result.metrics
    for name in ("ttft", "tpot", "itl", "e2e", "queueing"):
        points = [metrics.get(f"{name}_p{p}", math.inf) for p in (50, 90, 95, 99)]  # none where rejected ones are among them
        if any(b < a * (1 - TINY) for a, b in itertools.pairwise(points)):
            return f"percentiles of {name} do not ascend: {points}"
    for point in ("mean", "p50", "p99"):
        if metrics.get(f"ttft_{point}", 0.0) > metrics.get(f"e2e_{point}", math.inf) * (1 + TINY):
            return f"ttft_{point} is above e2e_{point}"
    return ""


CHECKS: dict[str, Callable[[Design, Result, CostCache], str | None]] = {
    "ordered": ordered, "bounded": bounded, "conserved": conserved, "cached": cached, "monotone": monotone, "reference": reference}


def guarded_outcome(base: str, said: Set, shared: CostCache, checked: Counter[str]) -> Outcome:
    """As `outcome`; any other error, a warning of numpy's included, is a failure of its own."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=RuntimeWarning)
            return outcome(base, said, shared, checked)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome("error", f"{type(error).__name__}: {str(error)[:150]} ({Path(frame.filename).name}:{frame.lineno})")


def shortest(base: str, said: Set, kind: str) -> Set:
    """The words without those that the failure does not need."""
    changed = True
    while changed:
        changed = False
        for word in list(said):
            fewer = [other for other in said if other != word]
            if guarded_outcome(base, fewer, CostCache(), Counter()).kind == kind:
                said, changed = fewer, True
    return said


def campaign(count: int, seed: int, minutes: float = math.inf) -> Campaign:
    """Designs of seeds `seed`, `seed` + 1, ...; prints failures as they come."""
    found, shared = Campaign(), CostCache()
    end_s = time.monotonic() + 60 * minutes
    for number in range(seed, seed + count):
        if time.monotonic() > end_s:
            break
        base, said = drawn(number)
        result = guarded_outcome(base, said, shared, found.checked)
        found.kinds[result.kind] += 1
        if result.kind not in ("served", "refused"):
            said = shortest(base, said, result.kind)
            command = shlex.join(["python", "-m", "simulator", "run", base, *(part for word in said for part in ("--set", word))])
            found.failures.append((result.kind, result.words, command))
            print(f"seed {number}: {result.kind}: {result.words}\n  {command}", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="designs")
    parser.add_argument("--seed", type=int, default=0, help="of the first one")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this time")
    json_option(parser)
    args = parser.parse_args()
    found = campaign(args.count, args.seed, args.minutes)
    rows = [measured("fuzz: designs generated", found.kinds.total()), measured("fuzz: designs served", found.kinds["served"]),
            measured("fuzz: designs refused in a line", found.kinds["refused"]),
            *(measured(f"fuzz: {name} checked", found.checked[name]) for name in CHECKS),
            measured("fuzz: designs that break an invariant", len(found.failures), "", "<= 0", not found.failures)]
    return finish(show(rows), args.json, shown=True)


if __name__ == "__main__":
    sys.exit(main())
