"""How much of the true Pareto front a search finds with few simulations, against Optuna's own samplers.

    python scripts/bench_search.py --tables DIR [--space NAME] [--seeds 5] [--trials 400] [--sampler NAME] [--json FILE]

The peers need packages that are not ours: scripts/search_peers.py says which; a row whose package is missing is left out.

Spaces are enumerated once with the sweeper itself (`run SPACE --sampler exhaustive`, minutes each) into DIR; after that a
simulation is a look-up. Share: hypervolume dominated by what was found over that of the true front, objectives on a log
scale, bounded by the 90th percentile of all feasible designs. For every sampler a repeated or statically illegal
proposal costs nothing: only simulations count. Ours ask with 4 evaluations under way, as with two workers; the stock
samplers one by one, which favours them.

`ladder` is `gp` below bounds that prove designs dominated (sweeper.run.proofs), every rung really run. Its budget is the cost of
--trials full simulations: what a design costs that a proof ends, and what a proof that fails adds to a simulation, are
measured first, on the same designs, and counted in full simulations.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import pickle
import random
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `python -m sweeper` does

import moocore
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


from scripts import search_peers  # noqa: E402
from scripts.report import Row, finish, json_option, measured, show  # noqa: E402
from sweeper.run.loop import Loop, run_free  # noqa: E402
from sweeper.run.proofs import Proving  # noqa: E402
from sweeper.search.extremes import Polish  # noqa: E402
from sweeper.search.samplers import build_proposer  # noqa: E402
from sweeper.space.enumeration import Enumeration  # noqa: E402
from sweeper.space.file import load_space  # noqa: E402
from sweeper.space.space import Space  # noqa: E402
from sweeper.study import ledger  # noqa: E402
from sweeper.study.front import signs  # noqa: E402
from sweeper.study.trial import Trial  # noqa: E402
from sweeper.workers.evaluator import SimEvaluator, load_traces, warm  # noqa: E402
from sweeper.workers.worker import Task, run_task  # noqa: E402

# space -> what is changed for the enumeration: short traces keep it affordable
SPACES: dict[str, dict[str, Any]] = {
    "npu_pim_grid": {"workload.requests": 200},
    "gpu_fleet": {"workload.requests": 200},
    "npu_scale_out": {"workload.requests": 200},
    "gpu_choice": {},
    "accelerator_mix": {"workload.requests": 200},
}
GOAL = 0.95
WITHIN = 0.01  # of the true best of an objective, for it to count as found
BUDGETS = {"gpu_choice": 200}  # simulations of a space, where not --trials
LADDER_GOAL = 0.98
OURS = ("tpe", "gp", "local", "nsga2", "random", "qmc")
LADDER = "ladder"
IN_FLIGHT = 4


@dataclass(frozen=True)
class Truth:
    """An enumerated space. `trials` by the key of the point."""

    space: Space
    trials: dict[str, Trial]
    reference: np.ndarray  # [objectives], log costs
    volume: float
    best: np.ndarray  # [objectives], log costs

    def extremes_found(self, found: list[Trial]) -> bool:
        """Whether the best of every objective is within 1 % of the true one."""
        complete = [t for t in found if t.status == "complete"]
        if not complete:
            return False
        return bool((log_costs(self.space, complete).min(axis=0) <= self.best + math.log(1.0 + WITHIN)).all())

    def share(self, found: list[Trial]) -> float:
        """Of the true hypervolume."""
        costs = log_costs(self.space, found)
        costs = costs[(costs < self.reference).all(axis=1)] if len(costs) else costs
        return float(moocore.hypervolume(costs, ref=self.reference)) / self.volume if len(costs) else 0.0


def log_costs(space: Space, trials: list[Trial]) -> np.ndarray:
    """[n, objectives] of the complete trials, smaller is better."""
    table = np.array([[t.objectives[o.name] for o in space.objectives] for t in trials if t.status == "complete"])
    return np.log(table) * signs(space.objectives) if len(table) else np.empty((0, len(space.objectives)))


def enumerated(name: str, folder: Path) -> Truth:
    """The truth about a space, from the cache in `folder` or by an exhaustive sweep into it."""
    cached = folder / f"{name}.pickle"
    if not cached.exists():
        study = folder / name
        options = [f"--set={key}={value}" for key, value in SPACES[name].items()]
        what = ["resume", str(study)] if study.exists() else [
            "run", str(ROOT / "search_spaces" / f"{name}.yaml"), "--sampler", "exhaustive", "--out", str(study), *options]
        subprocess.run([sys.executable, "-m", "sweeper", *what], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        space = load_space(study / "space.yaml")
        rows = [(space.key(t.parameters), t.status, t.objectives, t.constraints)
                for _, t in ledger.stream(study / "trials.jsonl") if not t.baseline]
        cached.write_bytes(pickle.dumps(rows, protocol=5))
    space = load_space(ROOT / "search_spaces" / f"{name}.yaml", SPACES[name])
    trials = {key: Trial(0, {}, status, objectives=objectives, constraints=constraints)
              for key, status, objectives, constraints in pickle.loads(cached.read_bytes())}
    costs = log_costs(space, list(trials.values()))
    reference = np.quantile(costs, 0.9, axis=0)
    inside = costs[(costs < reference).all(axis=1)]
    return Truth(space, trials, reference, float(moocore.hypervolume(inside, ref=reference)), costs.min(axis=0))


def ours(truth: Truth, sampler: str, seed: int, trials: int) -> tuple[list[Trial], float]:
    """The trials of one of our searches, and its CPU seconds."""
    space = truth.space
    proposer = build_proposer(sampler, space, seed=seed, in_flight=IN_FLIGHT, polish=Polish(trials))
    waiting: deque[Any] = deque()
    found: list[Trial] = []
    start_s = time.process_time()
    while len(found) < trials:
        while len(waiting) < IN_FLIGHT and len(found) + len(waiting) < trials:
            proposal = proposer.next()
            assert proposal is not None
            waiting.append(proposal)
        proposal = waiting.popleft()
        known = truth.trials[space.key(proposal.point)]
        trial = Trial(len(found), dict(proposal.point), known.status, objectives=known.objectives, constraints=known.constraints)
        found.append(trial)
        proposer.finished(proposal, trial)
    return found, time.process_time() - start_s


class Priced:
    """An inline pool whose evaluations are counted in full simulations."""

    def __init__(self, evaluator: SimEvaluator, prices: dict[str, float]) -> None:
        self._evaluator, self._prices = evaluator, prices
        self._waiting: deque[Task] = deque()
        self.found: list[Trial] = []  # simulated in full
        self.halfway: list[Trial] = []
        self.cost, self.proved = 0.0, 0

    def room(self) -> int:
        return IN_FLIGHT - len(self._waiting)

    def submit(self, tasks: Iterable[Task]) -> None:
        self._waiting.extend(tasks)

    def collect(self, timeout_s: float) -> list[Trial]:
        if not self._waiting:
            return []
        trial = run_task(self._evaluator, self._waiting.popleft())
        self.cost += self._prices[trial.rung]
        if trial.rung:
            self.proved += 1
        else:
            self.found.append(trial)
        return [trial]


def rung_prices(truth: Truth, evaluator: SimEvaluator, designs: int = 100) -> dict[str, float]:
    """Rung -> cost of a design that ends there, in full simulations without proofs (medians of the best of five)."""
    space, rng = truth.space, random.Random(0)
    beaten = ((0, tuple(-1e30 if o.direction == "minimize" else 1e30 for o in space.objectives)),)
    rows: list[list[float]] = []
    while len(rows) < designs:
        point = space.sample(rng)
        known = truth.trials.get(space.key(point))
        if known is None or known.status != "complete":
            continue
        now = evaluator.evaluate(Task(0, point)).objectives
        if any(not math.isclose(now.get(name, math.nan), value, rel_tol=1e-9) for name, value in known.objectives.items()):
            sys.exit(f"error: {space.name}: this simulator gives other results than the one that made the tables in --tables; "
                     "delete them there to generate them again")
        seconds = []
        for task in (Task(0, point), Task(0, point, rivals=()), Task(0, point, rivals=beaten)):
            best = math.inf
            for _ in range(5):
                start_s = time.process_time()
                evaluator.evaluate(task)
                best = min(best, time.process_time() - start_s)
            seconds.append(best)
        rows.append(seconds)
    plain, tried, proved = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"": tried / plain, "bound": proved / plain}


def ladder(truth: Truth, seed: int, budget: float, evaluator: SimEvaluator, prices: dict[str, float]) -> tuple[Priced, float]:
    """What `gp` with proofs finds at the cost of `budget` full simulations, and its CPU seconds apart from evaluations."""
    proposer = build_proposer("gp", truth.space, seed=seed, in_flight=IN_FLIGHT)
    pool = Priced(evaluator, prices)

    def stop(*_: object) -> bool:
        if pool.cost <= budget / 2:
            pool.halfway = list(pool.found)
        return pool.cost >= budget

    start_s = time.process_time()
    proving = Proving(pool, truth.space)
    run_free(Loop(proving, proposer, stop, proving.learn), [], itertools.count(), 1 << 30)
    return pool, time.process_time() - start_s


def measure_ladder(truth: Truth, name: str, seeds: range, trials: int) -> Iterator[Row]:
    """Rows of the ladder on one space."""
    traces = load_traces(truth.space)
    warm(truth.space, traces)
    evaluator = SimEvaluator(truth.space, traces)
    prices = rung_prices(truth, evaluator)
    climbs = [ladder(truth, seed, trials, evaluator, prices)[0] for seed in seeds]
    shares = [truth.share(climb.found) for climb in climbs]
    share = statistics.median(shares)
    yield {**measured(f"{name}/{LADDER}/hypervolume_share_{trials}", share, "", f">= {LADDER_GOAL}", share >= LADDER_GOAL),
           **_spread(shares)}
    for what, value, unit in (
            (f"hypervolume_share_{trials // 2}", statistics.median(truth.share(c.halfway) for c in climbs), ""),
            ("full_simulations", statistics.median(len(c.found) for c in climbs), ""),
            ("proved_designs", statistics.median(c.proved for c in climbs), ""),
            ("cost_of_a_proof", prices["bound"], ""), ("cost_of_a_simulation", prices[""], "")):
        yield measured(f"{name}/{LADDER}/{what}", value, unit)


def measure(truth: Truth, name: str, sampler: str, seeds: range, trials: int, hub: str | None) -> Iterator[Row]:
    """Rows of one sampler on one space."""
    if sampler == LADDER:
        yield from measure_ladder(truth, name, seeds, trials)
        return
    def run(seed: int) -> tuple[list[Trial], float]:
        if sampler in search_peers.NAMES:
            look_up = lambda point: truth.trials[truth.space.key(point)]  # noqa: E731
            return search_peers.run(sampler, truth.space, look_up, seed, trials, hub)
        return ours(truth, sampler, seed, trials)

    extremes: list[bool] = []
    shares: list[float] = []
    halves: list[float] = []
    cpu_s = 0.0
    for seed in seeds:
        found, seconds = run(seed)
        cpu_s += seconds
        extremes.append(truth.extremes_found(found))
        shares.append(truth.share(found))
        halves.append(truth.share(found[: trials // 2]))
    checked = sampler in ("tpe", "gp")
    if sampler in OURS:
        reached = sum(extremes) / len(extremes)
        name_of = f"{name}/extremes_found" if sampler == "gp" else f"{name}/{sampler}/extremes_found"
        yield measured(name_of, reached, "", f">= {GOAL}" if checked else "", reached >= GOAL if checked else None)
    share = statistics.median(shares)
    yield {**measured(f"{name}/{sampler}/hypervolume_share_{trials}", share, "", f">= {GOAL}" if checked else "",
                      share >= GOAL if checked else None), **_spread(shares)}
    yield measured(f"{name}/{sampler}/hypervolume_share_{trials // 2}", statistics.median(halves))
    yield measured(f"{name}/{sampler}/cpu_ms_per_trial", 1e3 * cpu_s / len(seeds) / trials, "ms", digits=3)


def _spread(shares: list[float]) -> dict[str, object]:
    """The extra fields of a row that stands for several seeds."""
    return {"least": round(min(shares), 4), "most": round(max(shares), 4)}


def table(rows: list[Row], trials: int) -> str:
    """The shares as a Markdown table, samplers by spaces (docs/search.md), with the CPU time per trial of the first space."""
    values = {row["name"]: row for row in rows}
    spaces = list(dict.fromkeys(name.split("/")[0] for name in values))
    samplers = list(dict.fromkeys(name.split("/")[1] for name in values))
    lines = [f"| sampler | {' | '.join(spaces)} | CPU per trial |", "| --- |" + " --- |" * (len(spaces) + 1)]
    for sampler in samplers:
        cells = []
        for space in spaces:
            row = values.get(f"{space}/{sampler}/hypervolume_share_{trials}")
            cells.append(f"{row['value']:.3f} [{row['least']:.3f} .. {row['most']:.3f}]" if row else "-")
        cpu = values.get(f"{spaces[0]}/{sampler}/cpu_ms_per_trial")
        cells.append(f"{cpu['value']:.3g} ms" if cpu else "-")
        lines.append(f"| `{sampler}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Prints the table; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tables", metavar="DIR", required=True, help="where enumerated spaces are kept")
    parser.add_argument("--space", choices=SPACES, action="append", help="may be repeated (default: all)")
    parser.add_argument("--sampler", choices=(*OURS, LADDER, *search_peers.NAMES), action="append",
                        help="may be repeated (default: all but the slow optuna_gp)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--first-seed", type=int, default=0, help="100 to look at what settings were tuned on")
    parser.add_argument("--hub", metavar="DIR", help="a copy of the OptunaHub registry's `package`, for optuna_auto")
    json_option(parser)
    args = parser.parse_args()
    rows: list[Row] = []
    for name in args.space or SPACES:
        truth = enumerated(name, Path(args.tables))
        front = sum(t.status == "complete" for t in truth.trials.values())
        print(f"{name}: {len(Enumeration(truth.space)):,} designs, {len(truth.trials):,} legal, {front:,} feasible")
        for sampler in args.sampler or (*OURS, LADDER, *(n for n in search_peers.NAMES if n not in search_peers.SLOW)):
            seeds = range(args.first_seed, args.first_seed + args.seeds)
            try:
                of_sampler = list(measure(truth, name, sampler, seeds, BUDGETS.get(name, args.trials), args.hub))
            except search_peers.MissingError as error:
                print(f"{name}/{sampler}: left out: {error}", flush=True)
                continue
            rows += show(of_sampler, width=56)
    print(table(rows, args.trials))
    return finish(rows, args.json, shown=True)


if __name__ == "__main__":
    sys.exit(main())
