"""One sweep from a study's folder to its results: Ray, search, ledger, MLflow and progress, put together."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from simulator.costs import cache
from simulator.costs.cache import Snapshot
from sweeper import folder as study_folder
from sweeper.cluster import connected
from sweeper.evaluator import SimEvaluator, load_traces, warm
from sweeper.folder import COSTS_FILE, SUMMARY_FILE, Settings
from sweeper.ledger import Ledger
from sweeper.live_front import LiveFront
from sweeper.loop import Loop, run_free, run_in_step
from sweeper.mlflow_runs import Labels, default_uri
from sweeper.pareto import front
from sweeper.progress import Progress, Status
from sweeper.proposals import Proposals
from sweeper.search.build import build_search, resumed_seed
from sweeper.space import Space
from sweeper.tracking import Closing, Tracker
from sweeper.trial import Trial
from sweeper.worker import Task

TRIAL_LIMIT_S = 300.0  # wall time of one simulation before it counts as hung
MAX_FAILURES = 5  # failed designs in a row before the sweep stops: something is wrong with all of them
SAVE_COSTS_SECONDS = 60.0


@dataclass(frozen=True)
class Ending:
    """How a sweep ended. why: complete, exhausted (no design left), timeout, interrupted, failing."""

    why: str
    trials: Sequence[Trial]
    pareto: Sequence[Trial]
    summary: dict[str, Any]
    reason: str = ""  # of `failing`


class Sweep:
    """Runs a study. Collects trials, writes them to the ledger first, then tells progress and MLflow."""

    def __init__(self, folder: Path, space: Space, book: Ledger, settings: Settings, progress: Progress) -> None:
        self._folder, self._space, self._book, self._settings = folder, space, book, settings
        self._progress = progress
        self._trials = list(book.trials)
        self._front = LiveFront(space)
        self._counts = Counter(trial.status for trial in self._trials)
        for trial in self._trials:
            self._front.add(trial)
        self._failures: list[Trial] = []  # in a row, by now
        self._signal = 0
        self._started_s = self._saved_s = time.monotonic()
        self._cpu_s = self._loop_cpu_s = 0.0  # of the driver while trials ran: all threads, and the loop's own
        self._why = ""
        self._pool: Any = None  # sweeper.pool.Pool
        labels = Labels(space.name, book.header.study_id, folder, {
            "space_hash": book.header.space_hash, "code_version": book.header.code_version, **book.header.settings})
        uri = settings.tracking_uri or default_uri(folder)
        self._tracker = Tracker(uri, labels, progress.say, earlier=self._trials)

    def run(self, *, address: str | None, costs: Snapshot) -> Ending:
        """Evaluates what is missing and writes all results. `costs`: operator prices known from earlier studies."""
        self._tracker.start()
        before = len(self._trials)
        with self._signals():
            if self._missing():
                self._progress.say(f"starting {self._settings.workers} workers ...")
                warm(self._space)
                with connected(self._settings.workers, address):
                    costs = self._evaluate(costs)
            else:
                self._why = "complete"
            self._book.sync()
            return self._finish(costs, new=len(self._trials) - before)

    def _missing(self) -> int:
        return self._settings.trials - len(self._trials)

    def _evaluate(self, costs: Snapshot) -> Snapshot:
        from sweeper.pool import Pool

        space, settings = self._space, self._settings
        self._cpu_s = time.process_time()
        self._pool = pool = Pool(partial(SimEvaluator, space, load_traces(space)), workers=settings.workers,
                                 costs=costs, trial_limit_s=TRIAL_LIMIT_S)
        self._started_s = time.monotonic()
        done = {trial.number: trial for trial in self._trials}
        baselines = [Task(n, baseline=b.name) for n, b in enumerate(space.baselines) if n < settings.trials]
        numbers = range(len(baselines), settings.trials)
        # In step, an interrupted run is repeated with its results looked up; otherwise the search takes them over.
        finished = 0 if settings.deterministic else len(done)
        seed = resumed_seed(settings.seed, finished)
        proposals = Proposals(space, seed)
        search = build_search(settings.sampler, space, seed=seed, trials=settings.trials,
                              in_flight=2 * settings.workers, skip=proposals.skip)
        loop = Loop(pool, search, proposals, self._record, self._tick)
        loop_cpu_s = time.thread_time()
        try:
            if settings.deterministic:
                end = run_in_step(loop, baselines, numbers, done)
            else:
                proposals.remember(self._trials)
                search.replay(self._trials)
                end = run_free(loop, [task for task in baselines if task.number not in done],
                               (number for number in numbers if number not in done))
            self._why = self._why or end
            self._cpu_s = time.process_time() - self._cpu_s
            self._loop_cpu_s = time.thread_time() - loop_cpu_s
            self._show()
            return pool.costs.snapshot()
        finally:
            pool.close()

    def _record(self, trial: Trial) -> None:
        self._book.append(trial)
        self._trials.append(trial)
        self._counts[trial.status] += 1
        self._front.add(trial)
        self._failures = [*self._failures, trial] if trial.status == "failed" else []
        counters = self._pool.costs.counters
        self._tracker.add(trial, {"pareto_size": float(len(self._front)), "cache_hits": float(counters.hits),
                                  "cache_misses": float(counters.misses)})

    def _tick(self) -> bool:
        """Whether to stop; looks after everything that is due now and then."""
        self._book.tick()
        now_s = time.monotonic()
        if self._progress.due:
            self._show()
        if now_s - self._saved_s > SAVE_COSTS_SECONDS:
            cache.save(self._pool.costs.snapshot(), self._folder / COSTS_FILE)
            self._saved_s = now_s
        timeout_s = self._settings.timeout_s
        if self._signal:
            self._why = "interrupted"
        elif timeout_s is not None and now_s - self._started_s > timeout_s:
            self._why = "timeout"
        elif len(self._failures) >= MAX_FAILURES:
            self._why = "failing"
        return bool(self._why)

    def _show(self) -> None:
        counters = self._pool.costs.counters
        lookups = max(1, counters.hits + counters.misses)
        self._progress.show(Status(
            len(self._trials), self._settings.trials, self._counts["complete"], self._counts["infeasible"],
            self._counts["failed"], len(self._front), self._front.hypervolume(), counters.hits / lookups,
            counters.saved_s))

    def _finish(self, costs: Snapshot, *, new: int) -> Ending:
        from sweeper.results import write_results

        trials = sorted(self._trials, key=lambda t: t.number)
        cache.save(costs, self._folder / COSTS_FILE)
        write_results(self._folder, self._space, trials)
        summary = self._summary(costs, new)
        if new or not (self._folder / SUMMARY_FILE).exists():  # a resume that finds nothing to do keeps the last one
            (self._folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        write_report(self._folder, self._space, trials, self._progress.say)
        pareto = front(trials, self._space.objectives)
        children = [*(t for t in trials if t.baseline), *(t for t in pareto if not t.baseline)]
        self._progress.say("writing to MLflow ...")
        self._tracker.close(Closing(
            {"interrupted": "KILLED", "failing": "FAILED"}.get(self._why, "FINISHED"), children,
            [self._folder / name for name in study_folder.ARTIFACTS],
            {name: value for name, value in summary.items() if isinstance(value, int | float)},
            {"sweeper.end": self._why}))
        reason = self._failures[-1].reason if self._why == "failing" else ""
        return Ending(self._why, trials, pareto, summary, reason)

    def _summary(self, costs: Snapshot, new: int) -> dict[str, Any]:
        elapsed_s = time.monotonic() - self._started_s
        counters = self._pool.costs.counters if self._pool else cache.CacheCounters()
        return {
            "end": self._why, "trials": len(self._trials), "trials_this_run": new, "seconds": round(elapsed_s, 3),
            "trials_per_s": round(new / elapsed_s, 3) if elapsed_s > 0 else 0.0,
            "driver_cpu_s": round(self._cpu_s, 3), "loop_cpu_s": round(self._loop_cpu_s, 3),
            "feasible": self._counts["complete"], "infeasible": self._counts["infeasible"],
            "failed": self._counts["failed"],
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


def write_report(folder: Path, space: Space, trials: Sequence[Trial], say: Callable[[str], None]) -> None:
    """The HTML report; a failure is a line, not the end of a finished sweep."""
    try:
        from sweeper.report import write_report as write

        write(folder, space, trials)
    except Exception as error:
        say(f"the report could not be written ({type(error).__name__}: {error}); "
            f"try `python -m sweeper report {folder}`")
