"""How fast a sweep goes round: designs per second, driver time per trial, worker efficiency, what the cache saves.

    python scripts/bench_sweep.py [--quick] [--only exhaustive] [--json FILE]

Real commands in fresh folders for `exhaustive/`, `model_based/` and `scaling/`; evaluators that only sleep for
`efficiency/`, so that what is missing from 1 is what the machinery costs. Rates are end to end: start of the command to
its last file, unless the name says otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `python -m sweeper` does

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.report import Row, finish, json_option, measured, show  # noqa: E402
from simulator.pricing.cache import CostCache, empty  # noqa: E402
from sweeper.study.trial import Trial  # noqa: E402
from sweeper.workers.worker import Task  # noqa: E402

WORKERS = 2


def command(space: str, *options: str) -> dict[str, Any]:
    """Runs a sweep; its summary with `wall_s` and `peak_bytes` of the driver added."""
    with tempfile.TemporaryDirectory() as place:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        start_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sweeper", "run", space, "--quiet", "--out", f"{place}/study", *options],
                       cwd=ROOT, check=True)
        wall_s = time.perf_counter() - start_s
        summary: dict[str, Any] = json.loads((Path(place) / "study" / "summary.json").read_text())
        peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return {**summary, "wall_s": wall_s, "peak_bytes": peak * 1024.0}


def exhaustive(trials: int) -> Iterator[Row]:
    """A grid over our own simulator with a trace of 1,000 requests."""
    found = command("npu_pim_grid", "--workers", str(WORKERS), "--trials", str(trials))
    rate = found["trials"] / found["wall_s"]
    yield measured("exhaustive/designs_per_s", rate, "designs/s", ">= 400", rate >= 400)
    yield measured("exhaustive/designs_per_s_while_evaluating", found["trials_per_s"], "designs/s")
    cpu_ms = 1e3 * found["driver_cpu_s"] / found["trials"]
    yield measured("exhaustive/driver_cpu_ms_per_trial", cpu_ms, "ms", "<= 0.2", cpu_ms <= 0.2)
    worker_ms = 1e3 * found["worker_cpu_s"] / found["trials"]
    yield measured("exhaustive/worker_cpu_ms_per_trial", worker_ms, "ms")
    yield measured("exhaustive/designs_per_s_of_2_free_cores", 2e3 / (worker_ms + cpu_ms), "designs/s")
    yield measured("exhaustive/peak_driver_memory", found["peak_bytes"] / 1e6, "MB")
    yield measured("exhaustive/wall_100000_designs", 1e5 / rate, "s", "<= 300", 1e5 / rate <= 300)


def model_based(trials: int) -> Iterator[Row]:
    """Gaussian processes over 1.9 million designs with the same trace."""
    found = command("npu_pim", "--sampler", "gp", "--workers", str(WORKERS), "--trials", str(trials))
    rate = found["trials_per_s"]
    yield measured("model_based/trials_per_s", rate, "trials/s", ">= 150", rate >= 150)
    yield measured("model_based/trials_per_s_with_start_and_results", found["trials"] / found["wall_s"], "trials/s")
    cpu_ms = 1e3 * found["loop_cpu_s"] / found["trials"]
    yield measured("model_based/driver_cpu_ms_per_trial", cpu_ms, "ms", "<= 2", cpu_ms <= 2)
    yield measured("model_based/driver_cpu_ms_per_trial_all_threads", 1e3 * found["driver_cpu_s"] / found["trials"], "ms")
    yield measured("model_based/worker_cpu_ms_per_trial", 1e3 * found["worker_cpu_s"] / found["trials"], "ms")
    share = found["cache_saved_s"] / max(found["cache_saved_s"] + found["cache_computed_s"], 1e-9)
    yield measured("cache/saved_share_cheap_device_model", share, "")


def scaling(trials: int) -> Iterator[Row]:
    """The same grid with one worker and with two, while evaluating."""
    rates = [command("npu_pim_grid", "--workers", str(n), "--trials", str(trials))["trials_per_s"] for n in (1, 2)]
    yield measured("scaling/2_workers_over_1", rates[1] / rates[0], "x")


class Sleeper:
    """An evaluator that only takes time."""

    def __init__(self, seconds: float, keys: int = 0, price_s: float = 0.0) -> None:
        self.cache = CostCache()
        self._seconds, self._keys, self._price_s = seconds, keys, price_s

    def evaluate(self, task: Task) -> Trial:
        """Sleeps; prices `keys` operators of few kinds, each new one at the price of `price_s`."""
        time.sleep(self._seconds)
        drawn = random.Random(task.number)
        for _ in range(self._keys):
            self.cache.get(int(drawn.paretovariate(0.7)) % 2_000, self._price)
        x = sum(map(float, range(3))) + task.number % 17
        return Trial(task.number, dict(task.parameters), "complete", objectives={"tpot_p95": x, "cost_per_hour": -x,
                                                                                 "goodput": float(task.number % 7)})

    def _price(self) -> np.ndarray:
        time.sleep(self._price_s)
        return np.ones(8)


def under_load(make: Callable[[], Sleeper], trials: int) -> tuple[float, Any]:
    """Wall seconds of `trials` gp trials on 2 workers that are up, and the pool's counters."""
    import ray

    from sweeper.run.loop import Loop, run_free
    from sweeper.search.samplers import build_proposer
    from sweeper.space.file import load_space
    from sweeper.workers.pool import Pool

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    space = load_space("npu_pim")
    pool = Pool(make, workers=WORKERS, costs=empty(), trial_limit_s=60.0)
    try:
        for trials_now in (8 * WORKERS, trials):  # the first ones start the workers and measure a trial
            proposer = build_proposer("gp", space, seed=0, in_flight=2 * WORKERS)
            start_s = time.perf_counter()
            run_free(Loop(pool, proposer, lambda *_: False), [], itertools.count(), trials_now)
            wall_s = time.perf_counter() - start_s
        return wall_s, pool.costs.counters
    finally:
        pool.close()


def efficiency(quick: bool) -> Iterator[Row]:
    """Share of the workers' time that goes into trials, with gp proposing."""
    for seconds, goal, trials in ((0.01, 0.9, 600), (0.1, 0.97, 120)):
        trials = trials // 3 if quick else trials
        wall_s, _ = under_load(lambda seconds=seconds: Sleeper(seconds), trials)
        share = trials * seconds / (WORKERS * wall_s)
        yield measured(f"efficiency/{seconds * 1e3:.0f}ms", share, "", f">= {goal}", share >= goal)


def expensive_model(quick: bool) -> Iterator[Row]:
    """200 operators a trial at 2 ms each: what of that the shared cache spares."""
    _, counters = under_load(lambda: Sleeper(0.0, keys=200, price_s=0.002), 60 if quick else 200)
    share = counters.hits / (counters.hits + counters.misses)
    yield measured("cache/saved_share_expensive_device_model", share, "")


def main() -> int:
    """Prints the table; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials")
    parser.add_argument("--only", choices=("exhaustive", "model_based", "scaling", "efficiency"))
    parser.add_argument("--trials", type=int, metavar="N", help="of the exhaustive sweep (default 20,000)")
    json_option(parser)
    args = parser.parse_args()
    rows: list[Row] = []
    if args.only in (None, "exhaustive"):
        rows += show(exhaustive(args.trials or (3_000 if args.quick else 20_000)))
    if args.only in (None, "model_based"):
        rows += show(model_based(300 if args.quick else 1_000))
    if args.only in (None, "scaling"):
        rows += show(scaling(1_000 if args.quick else 5_000))
    if args.only in (None, "efficiency"):
        from sweeper.workers.cluster import connected

        with connected(WORKERS, None):
            rows += show(efficiency(args.quick))
            rows += show(expensive_model(args.quick))
    return finish(rows, args.json, shown=True)


if __name__ == "__main__":
    sys.exit(main())
