"""From a study's settings and earlier trials to one of the loops: what the sampler proposes, or every point of the space."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sweeper.run.exhaustive import Ranges, SpanWorkers, run_spans
from sweeper.run.loop import End, Loop, Sink, Workers, run_free, run_in_step
from sweeper.run.proofs import Proving
from sweeper.search.extremes import Polish
from sweeper.search.samplers import build_proposer, resumed_seed
from sweeper.space.enumeration import Enumeration
from sweeper.space.space import Space
from sweeper.study.settings import SweepSettings
from sweeper.study.trial import Trial
from sweeper.workers.worker import Task


def enumerate_points(space: Space, settings: SweepSettings, numbers: Sequence[int], workers: SpanWorkers, sink: Sink) -> End:
    """Evaluates every point in order, in ranges, up to `settings.trials`. numbers: of the trials that the study has."""
    done = np.zeros(len(Enumeration(space)), dtype=bool)
    known = np.array(numbers, dtype=np.int64)
    first = len(space.baselines)
    done[known[known >= first] - first] = True
    baselines = [task for task in _baselines(space, settings) if task.number not in numbers]
    return run_spans(workers, space, Ranges(done, first, settings.trials - len(numbers)), sink, baselines)


def search_points(space: Space, settings: SweepSettings, trials: Sequence[Trial], rejected: Counter[str], workers: Workers,
                  sink: Sink) -> End:
    """Evaluates what the sampler proposes, with the ladder where the settings have one.

    trials: those of earlier runs and of a warm start. rejected: counts proposals that are illegal.
    """
    done = {trial.number: trial for trial in trials}
    baselines = _baselines(space, settings)
    warm = [trial for trial in trials if trial.cached and not trial.baseline]  # numbered as the first ones
    # In step, an interrupted run is repeated with its results looked up; otherwise the search takes them over.
    seed = resumed_seed(settings.seed, 0 if settings.deterministic else len(done))
    planned = (settings.planned if settings.deterministic else 0) or settings.trials
    proposer = build_proposer(settings.sampler, space, seed=seed, in_flight=max(2 * settings.workers, 1), rejected=rejected,
                              first=settings.seeds, polish=Polish(planned - len(baselines) - len(warm)))
    loop = Loop(workers, proposer, sink)
    if settings.ladder:
        proving = Proving(workers, space)
        loop = Loop(proving, proposer, sink, proving.learn)
    first = len(baselines) + len(warm)
    if settings.deterministic:
        loop.take_over(warm)
        return run_in_step(loop, baselines, first, settings.trials, done)
    loop.take_over(trials)
    numbers = (number for number in itertools.count(first) if number not in done)
    full = sum(not trial.rung for trial in trials)
    return run_free(loop, [task for task in baselines if task.number not in done], numbers, settings.trials - full)


def _baselines(space: Space, settings: SweepSettings) -> list[Task]:
    return [Task(number, baseline=b.name) for number, b in enumerate(space.baselines) if number < settings.trials]
