"""A finished study in a folder, without Ray: every task evaluated here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweeper.space.space import Space, Values
from sweeper.study import folder as study_folder
from sweeper.study.settings import SweepSettings
from sweeper.study.trial import Trial
from sweeper.workers.evaluator import SimEvaluator, load_traces
from sweeper.workers.worker import Task


def finished(folder: Path, space: Space, points: Sequence[Values]) -> list[Trial]:
    """Writes the study's ledger and space: the baselines, then the points."""
    book = study_folder.create(folder, space, SweepSettings(len(points), 1, 0, "random"))
    evaluator = SimEvaluator(space, load_traces(space))
    tasks = [Task(i, {}, baseline=b.name) for i, b in enumerate(space.baselines)]
    tasks += [Task(len(tasks) + i, point) for i, point in enumerate(points)]
    trials = [evaluator.evaluate(task) for task in tasks]
    for trial in trials:
        book.append(trial)
    book.close()
    return trials
