"""A sweep around a simulator that breaks, and around a tracking server that is away."""

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console
from threadpoolctl import threadpool_info, threadpool_limits

from simulator.pricing.cache import CostCache, empty
from sweeper.run.launch import launch
from sweeper.run.progress import Progress
from sweeper.run.settings import Options, new_study
from sweeper.run.sweep import Sweep
from sweeper.space.enumeration import Enumeration
from sweeper.space.file import load_space
from sweeper.space.space import Space
from sweeper.study import folder, ledger
from sweeper.study.ending import Ending
from sweeper.study.settings import SweepSettings
from sweeper.study.tally import MAX_FAILURES
from sweeper.study.trial import Trial
from sweeper.workers.worker import Task
from tests.sweeper.fast_driver import Tasks
from tests.sweeper.inline import machine, smooth

ray = pytest.importorskip("ray")


class Broken:
    """An evaluator with a bug that every design meets."""

    def __init__(self, space: Space, *_: object) -> None:
        self.cache = CostCache()
        self.objectives = [o.name for o in space.objectives]
        self._points = Enumeration(space)

    def point(self, index: int) -> dict[str, object]:
        return self._points.at(index)

    def broken_rule(self, point: object) -> str | None:
        return None

    def evaluate(self, task: Task) -> Trial:
        raise ZeroDivisionError("a bug in the device model")


def sweep(place: Path, **changes: object) -> tuple[Ending, str]:
    options = Options(**{"trials": 24, "workers": 2, "seed": 0, "sampler": "exhaustive", **changes})
    console = Console(record=True, width=200)
    with Progress(console, quiet=False) as progress:
        ending = launch(new_study(place, load_space("quick"), options, progress), progress)
    return ending, console.export_text()


def test_designs_that_fail_one_after_the_other_stop_the_sweep_with_the_reason(
        tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr("sweeper.run.launch.SimEvaluator", Broken)
    ending, _ = sweep(tmp_path / "study")
    assert ending.why == "failing"
    assert "ZeroDivisionError: a bug in the device model" in ending.reason
    assert MAX_FAILURES <= ending.found.count <= 24
    _, trials = ledger.read(tmp_path / "study" / "trials.jsonl")
    assert {t.status for t in trials} == {"failed"}


def test_a_tracking_server_that_is_away_costs_the_sweep_nothing(tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    ending, said = sweep(tmp_path / "study", tracking_uri="http://127.0.0.1:9")
    assert ending.why == "complete" and ending.found.count == 24
    assert said.count("cannot be written") == 1 and "resume" in said
    assert (tmp_path / "study" / "pareto.csv").exists()


def test_the_search_has_one_thread_for_linear_algebra_wherever_it_is_called_from(tmp_path: Path) -> None:
    """As in a notebook that loaded numpy without a limit. Several threads would take the workers' cores, and round otherwise."""
    found: list[int] = []
    space = machine(tmp_path)

    class Looking(Tasks):
        def submit(self, tasks: Iterable[Task]) -> None:
            found.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
            super().submit(tasks)

    settings = SweepSettings(8, 2, 0, "gp")
    book = folder.create(tmp_path, space, settings)
    with threadpool_limits(2, "blas"), Progress(Console(), quiet=True) as progress:
        sweep = Sweep(tmp_path, space, book, settings, progress)
        sweep.followers = []
        sweep.run(lambda: nullcontext(Looking(smooth(space))), empty())
        outside = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    book.close()
    assert set(found) == {1} and set(outside) == {2}
