"""One sweep of a study: it owns the order of things. Every trial goes to the ledger first, then to the followers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from simulator.pricing.cache import Snapshot
from sweeper.run.interruption import Interruption
from sweeper.run.progress import Progress, Screen
from sweeper.run.strategy import enumerate_points, search_points
from sweeper.run.study_files import StudyFiles
from sweeper.sinks.follower import Follower
from sweeper.sinks.mlflow_follower import Tracker
from sweeper.sinks.mlflow_labels import labels_of
from sweeper.sinks.mlflow_runs import default_uri
from sweeper.sinks.optuna_storage import Mirror
from sweeper.space.space import Space
from sweeper.study.digest import digest
from sweeper.study.ending import Ending
from sweeper.study.ledger import Ledger
from sweeper.study.rows import Rows
from sweeper.study.settings import SweepSettings
from sweeper.study.tally import Tally
from sweeper.study.trial import BOUND, Trial

OpenWorkers = Callable[[], AbstractContextManager[Any]]  # of a sweeper.workers.pool.Pool, which is up inside


class Sweep:
    """Runs a study from what its ledger has to the settings' number of trials."""

    def __init__(self, folder: Path, space: Space, ledger: Ledger, settings: SweepSettings, progress: Progress) -> None:
        self._space, self._ledger, self._settings, self._progress = space, ledger, settings, progress
        self._tally = Tally(space)
        self._numbers: list[int] = []  # of trials that were there before
        self._trials: list[Trial] = []  # the same, for a search, which learns from them
        for trial in ledger.trials([objective.name for objective in space.objectives]):
            self._tally.earlier(trial)
            self._numbers.append(trial.number)
            if not settings.exhaustive:
                self._trials.append(trial)
        self._interruption = Interruption(progress.say)
        self._why = ""
        self._started_s = time.monotonic()
        self._cpu = {"driver_cpu_s": 0.0, "loop_cpu_s": 0.0, "worker_cpu_s": 0.0}
        self._files, self._screen = StudyFiles(folder, space, progress), Screen(progress, space, settings, self._tally)
        self.followers: list[Follower] = [self._screen, self._files, *self._stores(folder)]

    def _stores(self, folder: Path) -> list[Follower]:
        settings, header, warn = self._settings, self._ledger.header, self._progress.warn
        tracker = Tracker(settings.tracking_uri or default_uri(folder), labels_of(self._space, folder, header), self._tally, warn,
                          earlier=[trial for trial in self._trials if not trial.rung])
        return [tracker, *([Mirror(settings.storage, self._space, header.study_id, self._ledger.path, warn)]
                           if settings.storage else [])]

    def run(self, open_workers: OpenWorkers, costs: Snapshot) -> Ending:
        """Evaluates what is missing, then closes the followers. `costs`: operator prices known from earlier studies."""
        for follower in self.followers:
            follower.start()
        before = self._tally.done
        with self._interruption:
            if self._settings.trials > before:
                with open_workers() as workers:
                    self._evaluate(workers)
                    costs = workers.costs.snapshot()
            self._why = self._why or "complete"
            self._ledger.sync()
            return self._finish(costs, new=self._tally.done - before)

    def _evaluate(self, workers: Any) -> None:
        """Everything between the start of the workers and their end."""
        self._tally.costs = workers.costs.counters
        self._files.costs, self._screen.workers = workers.costs, workers
        self._started_s = time.monotonic()
        self._progress.begin()
        cpu_s, loop_cpu_s = time.process_time(), time.thread_time()
        with threadpool_limits(1, "blas"):  # the cores belong to the simulations; several threads also round otherwise
            end = self._loop(workers)
        self._why = self._why or end
        self._cpu = {"driver_cpu_s": time.process_time() - cpu_s, "loop_cpu_s": time.thread_time() - loop_cpu_s,
                     "worker_cpu_s": workers.cpu_s}
        self._screen.show()

    def _loop(self, workers: Any) -> str:
        """Until the loop ends: complete, exhausted or stopped."""
        space, settings = self._space, self._settings
        if settings.exhaustive:
            return enumerate_points(space, settings, self._numbers, workers, self._take)
        return search_points(space, settings, self._trials, self._tally.rejected, workers, self._take)

    def _take(self, trials: Sequence[Trial], rows: Sequence[Rows] = ()) -> bool:
        """What every loop calls with finished trials: the ledger, then everybody else. Whether to stop."""
        for trial in trials:
            self._ledger.append(trial)
            self._tally.add(trial)
            for follower in self.followers:
                follower.on_trial(trial)
        for finished in rows:
            if finished.lines:
                self._ledger.append_lines(finished.lines)
            self._tally.add_rows(finished)
        self._ledger.tick()
        for follower in self.followers:
            follower.on_tick()
        self._why = self._reason_to_stop()
        return bool(self._why)

    def _reason_to_stop(self) -> str:
        timeout_s = self._settings.timeout_s
        if self._interruption.caught:
            return "interrupted"
        if timeout_s is not None and time.monotonic() - self._started_s > timeout_s:
            return "timeout"
        return self._why or ("failing" if self._tally.failing else "")

    def _finish(self, costs: Snapshot, *, new: int) -> Ending:
        self._files.save_costs(costs)
        found = digest(self._space, self._ledger.path)
        ending = Ending(self._why, found, self._summary(costs, new), self._tally.failure if self._why == "failing" else "")
        for follower in self.followers:
            if follower.writing_to:
                self._progress.starting(f"writing to {follower.writing_to} ...")
            follower.close(ending)
        return ending

    def _summary(self, costs: Snapshot, new: int) -> dict[str, Any]:
        elapsed_s = time.monotonic() - self._started_s
        tally, counters = self._tally, self._tally.costs
        return {
            "end": self._why, "sampler": self._settings.sampler, "trials": tally.done, "trials_this_run": new,
            "seconds": round(elapsed_s, 3),
            "trials_per_s": round(new / elapsed_s, 3) if elapsed_s > 0 else 0.0,
            **{name: round(seconds, 3) for name, seconds in self._cpu.items()},
            "feasible": tally.statuses["complete"], "infeasible": tally.statuses["infeasible"],
            "failed": tally.statuses["failed"],
            "pruned_by_bounds": tally.rungs[BOUND],
            "rejected": dict(tally.rejected.most_common()),
            "pareto_size": len(tally.front), "hypervolume": tally.front.hypervolume(),
            "cache_hits": counters.hits, "cache_misses": counters.misses, "cache_entries": len(costs),
            "cache_bytes": costs.nbytes, "cache_computed_s": round(counters.computed_s, 6),
            "cache_saved_s": round(counters.saved_s, 6),
        }
