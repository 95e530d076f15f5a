"""A plan run on Ray: what the command line and `sweeper.api` call once everything is decided."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from simulator.inputs.cli import DISK_ERRORS
from simulator.inputs.errors import InputError
from simulator.workload.trace import Trace
from sweeper.run.progress import SLOW_ENGINE, Progress
from sweeper.run.settings import Plan
from sweeper.run.sweep import Sweep
from sweeper.space.space import Space
from sweeper.study.ending import Ending
from sweeper.study.folder import restore
from sweeper.study.ledger import RemovedError
from sweeper.workers.cluster import connected
from sweeper.workers.evaluator import SimEvaluator, load_traces, warm, warm_evaluator
from sweeper.workers.in_process import InProcess
from sweeper.workers.pool_errors import PoolError

if TYPE_CHECKING:
    from sweeper.workers.pool import Pool


def launch(plan: Plan, progress: Progress) -> Ending:
    """Runs the sweep and closes its ledger. Raises InputError, with how to go on, where the workers cannot run or the disk
    cannot be written; KeyboardInterrupt at a second Ctrl-C."""
    with closing(plan.ledger):
        for note in plan.notes:
            progress.say(note)
        try:
            return Sweep(plan.folder, plan.space, plan.ledger, plan.settings, progress).run(
                partial(ray_workers if plan.settings.workers else in_process, plan, progress), plan.costs)
        except PoolError as error:
            raise InputError(f"{error}; fix that, then continue with `python -m sweeper resume {plan.folder}`") from error
        except RemovedError as error:
            restore(plan.folder, plan.space, plan.ledger, plan.settings)
            raise InputError(f"{error.message}; what had finished is there again: continue with `python -m sweeper resume "
                             f"{plan.folder}`", file=error.file) from error
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            raise InputError(f"cannot be written: {os.strerror(error.errno)}; every finished trial is in {plan.ledger.path}; "
                             f"fix that, then `python -m sweeper resume {plan.folder}` completes the study",
                             file=str(error.filename or plan.folder)) from error


@contextmanager
def in_process(plan: Plan, progress: Progress) -> Iterator[InProcess]:
    """This process as the only worker."""
    with progress.explained(SLOW_ENGINE):
        evaluator = warm_evaluator(plan.space)
    yield InProcess(evaluator, plan.costs)


@contextmanager
def ray_workers(plan: Plan, progress: Progress) -> Iterator[Pool]:
    """A pool of workers that is up inside: on a private cluster, or on the one at the plan's address."""
    space, settings = plan.space, plan.settings
    progress.starting(f"starting Ray and {settings.workers} worker{'s' if settings.workers != 1 else ''} ...")
    with ThreadPoolExecutor(1) as background:  # Ray's start is mostly waiting
        prepared = background.submit(_prepared, space)
        lost = (f"the sweep was ended from outside (its process or Ray's was killed); every finished trial is in "
                f"{plan.ledger.path}: continue with `python -m sweeper resume {plan.folder}`")
        with connected(settings.workers, plan.address, if_lost=lost):
            from sweeper.workers.pool import Pool, boot

            booted = boot(settings.workers, ["sweeper.workers.evaluator"])
            with progress.explained(SLOW_ENGINE):
                traces = prepared.result()
            pool = Pool(partial(SimEvaluator, space, traces), workers=settings.workers, costs=plan.costs,
                        trial_limit_s=settings.trial_timeout_s, elastic=plan.elastic, booted=booted)
            try:
                yield pool
            finally:
                pool.close()


def _prepared(space: Space) -> dict[str, Trace]:
    """The space's traces, once the engine is compiled."""
    traces = load_traces(space)
    warm(space, traces)
    return traces
