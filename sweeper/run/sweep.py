"""One sweep from a study's folder to its results: Ray, search, ledger, MLflow and progress, put together."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from simulator.pricing import cache
from simulator.pricing.cache import Snapshot
from simulator.workload.trace import Trace
from sweeper.run.exhaustive import Plan, SpanLoop, run_spans
from sweeper.run.ladder.ladder import Ladder, Rungs
from sweeper.run.ladder.ladder import run_free as run_up
from sweeper.run.ladder.ladder import run_in_step as run_up_in_step
from sweeper.run.loop import Loop, run_free, run_in_step
from sweeper.run.progress import Progress
from sweeper.run.status import ShownStatus
from sweeper.run.warm_start import Seeded
from sweeper.search.build import build_search, resumed_seed
from sweeper.search.proposals import Proposals
from sweeper.sinks.mlflow import Closing, Tracker
from sweeper.sinks.mlflow_labels import labels_of
from sweeper.sinks.mlflow_runs import default_uri
from sweeper.sinks.optuna_storage import Mirror
from sweeper.space.enumeration import Enumeration
from sweeper.space.space import Space
from sweeper.study import folder as study_folder
from sweeper.study.digest import Digest, digest
from sweeper.study.folder import COSTS_FILE, SUMMARY_FILE
from sweeper.study.front import LiveFront
from sweeper.study.ledger import Ledger
from sweeper.study.settings import SweepSettings
from sweeper.study.trial import BOUND, SHORT, STATUSES, Status, Trial
from sweeper.workers.cluster import connected
from sweeper.workers.evaluator import SimEvaluator, load_traces, warm
from sweeper.workers.spans import COMPLETE, FAILED, Rows
from sweeper.workers.worker import Task

# Failed designs in a row before the sweep stops, since something is wrong with all of them: as many as succeeded before,
# within these bounds. A region of a space that a device model cannot price is passed over, a broken machine is not.
MAX_FAILURES, MOST_FAILURES = 5, 1000
SAVE_COSTS_SECONDS = 60.0
SLOW_ENGINE = "preparing the serving engine (the first time on a machine it is compiled: 3-15 s) ..."
REPORT_SHARE = 0.05  # of the sweep's time that its report may add; `python -m sweeper report` takes more
NOTE_TRIALS = 16  # between two steps in MLflow that also hold the sweep's numbers: every metric of a step costs 0.1 ms
NOTE_SECONDS = 2.0  # between two steps of an exhaustive sweep in MLflow


@dataclass(frozen=True)
class Ending:
    """How a sweep ended. why: complete, exhausted (no design left), timeout, interrupted, failing."""

    why: str
    found: Digest
    summary: dict[str, Any]
    reason: str = ""  # of `failing`


class Sweep:
    """Runs a study. Collects trials, writes them to the ledger first, then tells progress and MLflow."""

    def __init__(self, folder: Path, space: Space, ledger: Ledger, settings: SweepSettings, progress: Progress) -> None:
        self._folder, self._space, self._ledger, self._settings = folder, space, ledger, settings
        self._progress = progress
        self._exhaustive = settings.sampler == "exhaustive"
        self._trials: list[Trial] = []  # all of them for a search, which learns from them; else only their numbers
        self._numbers: list[int] = []  # of trials that were there before
        self._front = LiveFront(space.objectives)
        self._counts: Counter[Status] = Counter()
        self._rejected: Counter[str] = Counter()  # points illegal as written, by the constraint they miss
        self._cheap: Counter[str] = Counter()  # designs that ended below the full simulation, by rung
        for trial in ledger.trials():
            self._counts[trial.status] += 1
            self._cheap[trial.rung] += bool(trial.rung)
            self._front.add(trial)
            self._numbers.append(trial.number)
            if not self._exhaustive:
                self._trials.append(trial)
        self._failures, self._failure = 0, ""  # failed trials in a row, by now, and the last one's reason
        self._noted_s = 0.0
        self._signal = 0
        self._started_s = self._saved_s = time.monotonic()
        self._cpu_s = self._loop_cpu_s = 0.0  # of the driver while trials ran: all threads, and the loop's own
        self._why = ""
        self._pool: Any = None  # sweeper.workers.pool.Pool
        labels = labels_of(space, folder, ledger.header)
        uri = settings.tracking_uri or default_uri(folder)
        self._tracker = Tracker(uri, labels, progress.warn,
                                earlier=[trial for trial in self._trials if not trial.rung])
        self._mirror = (Mirror(settings.storage, space, ledger.header.study_id, ledger.path, progress.warn)
                        if settings.storage else None)

    def run(self, *, address: str | None, costs: Snapshot, elastic: bool = False) -> Ending:
        """Evaluates what is missing and writes all results. `costs`: operator prices known from earlier studies.

        elastic: a worker on every CPU of the cluster at `address`, also on nodes that join later.
        """
        self._tracker.start()
        if self._mirror is not None:
            self._mirror.start()
        before = self._done
        with self._signals():
            if self._missing():
                costs = self._evaluate(costs, address, elastic)
            else:
                self._why = "complete"
            self._ledger.sync()
            return self._finish(costs, new=self._done - before)

    @property
    def _done(self) -> int:
        return self._counts.total() - self._cheap.total()

    def _missing(self) -> int:
        return self._settings.trials - self._done

    def _evaluate(self, costs: Snapshot, address: str | None, elastic: bool) -> Snapshot:
        workers = f"{self._settings.workers} worker{'s' if self._settings.workers != 1 else ''}"
        self._progress.starting(f"starting Ray and {workers} ...")
        with ThreadPoolExecutor(1) as beside:  # Ray's start is mostly waiting
            prepared = beside.submit(_prepared, self._space)
            with connected(self._settings.workers, address):
                from sweeper.workers.pool import boot

                booted = boot(self._settings.workers, ["sweeper.workers.evaluator"])
                with self._progress.explained(SLOW_ENGINE):
                    traces = prepared.result()
                return self._on_workers(traces, costs, elastic, booted)

    def _on_workers(self, traces: dict[str, Trace], costs: Snapshot, elastic: bool, booted: Sequence[Any]) -> Snapshot:
        from sweeper.workers.pool import Pool

        pool = Pool(partial(SimEvaluator, self._space, traces), workers=self._settings.workers,
                    costs=costs, trial_limit_s=self._settings.trial_timeout_s, elastic=elastic, booted=booted)
        try:
            self._work(pool)
            return pool.costs.snapshot()
        finally:
            pool.close()

    def _work(self, pool: Any) -> None:
        """Everything between the start of the workers and their end."""
        self._pool = pool
        self._started_s = time.monotonic()
        self._progress.begin()
        cpu_s, loop_cpu_s = time.process_time(), time.thread_time()
        with threadpool_limits(1, "blas"):  # the cores belong to the simulations; several threads also round otherwise
            end = self._enumerate(pool) if self._exhaustive else self._search(pool)
        self._why = self._why or end
        self._cpu_s, self._loop_cpu_s = time.process_time() - cpu_s, time.thread_time() - loop_cpu_s
        self._show()

    def _enumerate(self, pool: Any) -> str:
        """Every point in order, in ranges."""
        points = Enumeration(self._space)
        baselines = self._space.baselines
        done = np.zeros(len(points), dtype=bool)
        numbers = np.array(self._numbers, dtype=np.int64)
        done[numbers[numbers >= len(baselines)] - len(baselines)] = True
        plan = Plan(done, len(baselines), self._missing())
        tasks = [Task(n, baseline=b.name) for n, b in enumerate(baselines)
                 if n < self._settings.trials and n not in self._numbers]
        return run_spans(SpanLoop(pool, self._space, points, plan, self._record, self._record_rows,
                                  self._rejected.update, self._tick), tasks)

    def _search(self, pool: Any) -> str:
        """What the sampler proposes."""
        space, settings = self._space, self._settings
        done = {trial.number: trial for trial in self._trials}
        baselines = [Task(n, baseline=b.name) for n, b in enumerate(space.baselines) if n < settings.trials]
        warm = [trial for trial in self._trials if trial.cached and not trial.baseline]  # numbered as the first ones
        numbers = range(len(baselines) + len(warm), settings.trials)
        # In step, an interrupted run is repeated with its results looked up; otherwise the search takes them over.
        finished = 0 if settings.deterministic else len(done)
        seed = resumed_seed(settings.seed, finished)
        proposals = Proposals(space, seed)
        self._rejected = proposals.rejected
        search = build_search(settings.sampler, space, seed=seed, in_flight=2 * settings.workers,
                              skip=proposals.skip)
        if settings.seeds:
            search = Seeded(search, settings.seeds)
        if settings.deterministic:
            proposals.remember(warm)
            search.replay(warm)
        loop = Loop(pool, search, proposals, self._record, self._tick)
        if settings.ladder is not None:
            return self._climb(loop, Rungs(**settings.ladder), baselines, warm)
        if settings.deterministic:
            return run_in_step(loop, baselines, numbers, done)
        proposals.remember(self._trials)
        search.replay(self._trials)
        return run_free(loop, [task for task in baselines if task.number not in done],
                        (number for number in numbers if number not in done))

    def _climb(self, loop: Loop, rungs: Rungs, baselines: Sequence[Task], warm: Sequence[Trial]) -> str:
        """What the sampler proposes, with the ladder."""
        settings = self._settings
        ladder = Ladder(self._space, rungs)
        done = {trial.number: trial for trial in self._trials}
        shorts = self._ledger.interim()
        if settings.deterministic:
            for trial in warm:
                ladder.learn(trial)
            return run_up_in_step(loop, ladder, baselines, settings.trials, len(baselines) + len(warm), done, shorts)
        waiting = [short for number, short in sorted(shorts.items()) if number not in done]
        ladder.shorts.update(shorts)
        for trial in self._trials:
            ladder.learn(trial)
        loop.proposals.remember([*self._trials, *waiting])
        loop.search.replay([told for told in map(ladder.for_search, self._trials) if told is not None])
        first = max([*done, *shorts, len(self._space.baselines) - 1]) + 1
        return run_up(loop, ladder, [task for task in baselines if task.number not in done],
                      settings.trials - self._done, first, waiting)

    def _record(self, trial: Trial) -> None:
        self._ledger.append(trial)
        if trial.interim:
            return
        self._cheap[trial.rung] += bool(trial.rung)
        if not self._exhaustive:
            self._trials.append(trial)
        self._counts[trial.status] += 1
        self._front.add(trial)
        self._failures = self._failures + 1 if trial.status == "failed" else 0
        self._failure = trial.reason
        if trial.rung:  # MLflow's curves are those of full simulations
            return
        self._tracker.add(trial, self._numbers_of_sweep() if self._done % NOTE_TRIALS == 1 else {})

    def _numbers_of_sweep(self) -> dict[str, float]:
        counters = self._pool.costs.counters
        return {"pareto_size": float(len(self._front)), "cache_hits": float(counters.hits),
                "cache_misses": float(counters.misses)}

    def _record_rows(self, rows: Rows) -> None:
        self._ledger.append_lines(rows.lines)
        for status, count in zip(STATUSES, np.bincount(rows.statuses, minlength=len(STATUSES)).tolist(), strict=True):
            self._counts[status] += count
        complete = np.flatnonzero(rows.statuses == COMPLETE)
        self._front.add_rows(rows.objectives[complete], [rows.design_keys[i] for i in complete])
        succeeded = np.flatnonzero(rows.statuses != FAILED)
        self._failures = len(rows) - 1 - int(succeeded[-1]) if len(succeeded) else self._failures + len(rows)
        self._failure = rows.reason
        if time.monotonic() - self._noted_s > NOTE_SECONDS:
            self._noted_s = time.monotonic()
            self._tracker.note(self._done, {
                "pareto_size": float(len(self._front)), "hypervolume": self._front.hypervolume(),
                "feasible_trials": float(self._counts["complete"])})

    def _tick(self) -> bool:
        """Whether to stop; looks after everything that is due now and then."""
        self._ledger.tick()
        now_s = time.monotonic()
        if self._progress.due:
            self._show()
        if now_s - self._saved_s > SAVE_COSTS_SECONDS:
            self._save_costs(self._pool.costs.snapshot())
            self._saved_s = now_s
        timeout_s = self._settings.timeout_s
        if self._signal:
            self._why = "interrupted"
        elif timeout_s is not None and now_s - self._started_s > timeout_s:
            self._why = "timeout"
        elif self._failures >= min(max(MAX_FAILURES, self._counts.total() - self._counts["failed"]), MOST_FAILURES):
            self._why = "failing"
        return bool(self._why)

    def _show(self) -> None:
        counters = self._pool.costs.counters
        lookups = max(1, counters.hits + counters.misses)
        self._progress.show(ShownStatus(
            self._done, self._expected(), self._counts["complete"], self._counts["infeasible"],
            self._counts["failed"], len(self._front), self._front.hypervolume(), counters.hits / lookups,
            counters.saved_s, self._counts["pruned"], self._pool.workers, f"{self._space.name}, {self._settings.sampler}",
            tuple(f"{o.name} {value:.4g} {o.unit}".rstrip()
                  for o, value in zip(self._space.objectives, self._front.best(), strict=False))))

    def _finish(self, costs: Snapshot, *, new: int) -> Ending:
        from sweeper.study.results import write_results

        self._save_costs(costs)
        found = digest(self._space, self._ledger.path)
        write_results(self._folder, self._space, found)
        summary = self._summary(costs, new)
        if new or not (self._folder / SUMMARY_FILE).exists():  # a resume that finds nothing to do keeps the last one
            (self._folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        write_report(self._folder, self._space, found, self._progress.say, REPORT_SHARE * summary["seconds"])
        children = [*(t for t in found.kept if t.baseline), *(t for t in found.front if not t.baseline)]
        self._progress.starting("writing to MLflow ...")
        self._tracker.close(Closing(
            {"interrupted": "KILLED", "failing": "FAILED"}.get(self._why, "FINISHED"), children,
            [self._folder / name for name in study_folder.ARTIFACTS],
            {name: value for name, value in summary.items() if isinstance(value, int | float)},
            {"sweeper.end": self._why}))
        if self._mirror is not None:
            self._progress.starting("writing to the Optuna storage ...")
            self._mirror.close()
        return Ending(self._why, found, summary, self._failure if self._why == "failing" else "")

    def _save_costs(self, costs: Snapshot) -> None:
        """A convenience for later runs: without it they price again, so it stops nothing."""
        try:
            cache.save(costs, self._folder / COSTS_FILE)
        except OSError as error:
            self._progress.warn(f"{self._folder / COSTS_FILE}: cannot be written: {error.strerror or error}; the sweep goes on")

    def _expected(self) -> int:
        """How many trials there will be in the end."""
        size = self._space.size() if self._exhaustive else None
        legal = (size or 0) + len(self._space.baselines) - self._rejected.total()
        return self._settings.trials if size is None else min(self._settings.trials, legal)

    def _summary(self, costs: Snapshot, new: int) -> dict[str, Any]:
        elapsed_s = time.monotonic() - self._started_s
        counters = self._pool.costs.counters if self._pool else cache.CacheCounters()
        return {
            "end": self._why, "sampler": self._settings.sampler, "trials": self._done, "trials_this_run": new,
            "seconds": round(elapsed_s, 3),
            "trials_per_s": round(new / elapsed_s, 3) if elapsed_s > 0 else 0.0,
            "driver_cpu_s": round(self._cpu_s, 3), "loop_cpu_s": round(self._loop_cpu_s, 3),
            "worker_cpu_s": round(self._pool.cpu_s if self._pool else 0.0, 3),
            "feasible": self._counts["complete"], "infeasible": self._counts["infeasible"],
            "failed": self._counts["failed"],
            "pruned_by_bounds": self._cheap[BOUND], "pruned_by_short_trace": self._cheap[SHORT],
            "rejected": dict(self._rejected.most_common()),
            "pareto_size": len(self._front), "hypervolume": self._front.hypervolume(),
            "cache_hits": counters.hits, "cache_misses": counters.misses, "cache_entries": len(costs),
            "cache_bytes": costs.nbytes, "cache_computed_s": round(counters.computed_s, 6),
            "cache_saved_s": round(counters.saved_s, 6),
        }

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM ends the sweep in order, the second one at once."""
        def note(number: int, _frame: FrameType | None) -> None:
            if self._signal:
                raise KeyboardInterrupt
            self._signal = number
            self._progress.say("stopping ... (once more: at once)")

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _prepared(space: Space) -> dict[str, Trace]:
    """The space's traces, once the engine is compiled."""
    traces = load_traces(space)
    warm(space, traces)
    return traces


def write_report(folder: Path, space: Space, found: Digest, say: Callable[[str], None], budget_s: float) -> None:
    """The HTML report, adding simulations of about `budget_s` (no more than `report` by itself would); a failure other than
    the disk's is a line, not the end of a finished sweep."""
    try:
        from sweeper.report.page import BUDGET_S
        from sweeper.report.page import write_report as write

        write(folder, space, found, min(BUDGET_S, budget_s))
    except OSError:
        raise
    except Exception as error:
        say(f"the report could not be written ({type(error).__name__}: {error}); "
            f"try `python -m sweeper report {folder}`")
