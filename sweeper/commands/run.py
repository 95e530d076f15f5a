"""`python -m sweeper run SPACE` starts a new study, and `resume DIR` continues one."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from simulator.design import units
from simulator.design.load import parse_override
from simulator.inputs.cli import DISK_ERRORS
from simulator.inputs.errors import InputError
from simulator.pricing import cache
from simulator.pricing.cache import Snapshot
from simulator.version import simulator_version
from sweeper.commands.ending import print_ending
from sweeper.run.ladder.auto_ladder import resolve
from sweeper.run.progress import Progress
from sweeper.run.warm_start import warm_start
from sweeper.search.auto_sampler import Choice, choose
from sweeper.sinks.mlflow_runs import check_uri
from sweeper.sinks.optuna_storage import check_storage
from sweeper.space.enumeration import Enumeration
from sweeper.space.file import load_space
from sweeper.space.space import Space
from sweeper.study import folder as study_folder
from sweeper.study.folder import COSTS_FILE
from sweeper.study.ledger import Ledger
from sweeper.study.settings import SweepSettings, settings_of
from sweeper.workers.cluster import check_address

AUTO_MAX = 200_000  # designs; `auto` does not consider enumerating more
EXIT_CODES = {"interrupted": 130, "failing": 1}


def run(args: Namespace) -> int:
    """Sweeps a space into a new folder; the exit code: 0, 130 when interrupted, 1 when every design fails."""
    space = load_space(args.space, dict(parse_override(text) for text in args.overrides))
    spec = space.study
    sampler = _sampler(args.sampler) if args.sampler else spec.sampler
    trials = _positive(args.trials, "--trials") or spec.trials
    workers = _workers(spec.workers if args.workers is None else args.workers)
    timeout_s = _seconds(spec.timeout if args.timeout is None else args.timeout)
    trial_timeout_s = _seconds(spec.trial_timeout if args.trial_timeout is None else args.trial_timeout, "--trial-timeout")
    uri = None if args.tracking_uri is None else check_uri(args.tracking_uri)
    storage = None if args.storage is None else check_storage(args.storage)
    check_address(args.address)
    costs = cache.load(Path(args.cache)) if args.cache else cache.empty()
    note = ""
    if sampler == "auto":
        choice = _choose(space, trials, workers, fixed=args.trials is not None, quiet=args.quiet)
        sampler, note = choice.sampler, f"searching with {choice.sampler}: {choice.why}"
    if sampler == "exhaustive":
        size = len(Enumeration(space)) + len(space.baselines)
        trials = min(trials, size) if args.trials else size
    rungs, why = resolve(space, args.ladder or spec.ladder, sampler)
    note = "\n".join(text for text in (note, why) if text)
    warm = warm_start([Path(folder) for folder in args.warm_start], space)
    if args.warm_start:
        if sampler == "exhaustive":
            raise InputError("an exhaustive sweep cannot begin with another study's results; reuse its operator prices with "
                             "--cache", key="--warm-start")
        note = "\n".join([*([note] if note else []), f"warm start: {len(warm.taken):,} results taken over, "
                                                     f"{len(warm.seeds):,} designs tried first"])
    settings = SweepSettings(
        trials=trials + len(warm.taken),
        workers=workers,
        seed=spec.seed if args.seed is None else _seed(args.seed),
        sampler=sampler,
        deterministic=args.deterministic,
        timeout_s=timeout_s,
        trial_timeout_s=trial_timeout_s or SweepSettings.trial_timeout_s,
        tracking_uri=uri,
        storage=storage,
        seeds=tuple(warm.seeds),
        ladder=None if rungs is None else asdict(rungs))
    folder = Path(args.out) if args.out else Path("runs") / space.name
    ledger = study_folder.create(folder, space, settings)
    for trial in warm.taken:
        ledger.append(trial)
    return _sweep(folder, space, ledger, settings, costs, args, note)


def resume(args: Namespace) -> int:
    """Continues a study; nothing that finished is evaluated again."""
    folder = Path(args.folder)
    space, ledger = study_folder.reopen(folder)
    try:
        settings = settings_of(
            ledger.header, trials=_positive(args.trials, "--trials"), workers=_positive(args.workers, "--workers"),
            trial_timeout_s=_seconds(args.trial_timeout, "--trial-timeout"),
            tracking_uri=None if args.tracking_uri is None else check_uri(args.tracking_uri),
            storage=None if args.storage is None else check_storage(args.storage))
        settings = SweepSettings(**{**settings.__dict__, "timeout_s": _seconds(args.timeout)})
        costs_path = folder / COSTS_FILE
        costs = cache.load(costs_path) if costs_path.exists() else cache.empty()
        if args.cache:
            costs = cache.merge([costs, cache.load(Path(args.cache))])
    except BaseException:
        ledger.close()
        raise
    return _sweep(folder, space, ledger, settings, costs, args)


def _sweep(folder: Path, space: Space, ledger: Ledger, settings: SweepSettings, costs: Snapshot, args: Namespace,
           note: str = "") -> int:
    from sweeper.run.sweep import Sweep
    from sweeper.workers.pool_errors import PoolError

    try:
        with closing(ledger), Progress(Console(stderr=True), quiet=args.quiet) as progress:
            if note:
                progress.say(note)
            if ledger.header.code_version != simulator_version():
                progress.say("note: earlier trials of this study were simulated by another version of the simulator")
            ending = Sweep(folder, space, ledger, settings, progress).run(
                address=args.address, costs=costs, elastic=args.address is not None and args.workers is None)
    except KeyboardInterrupt:
        print(f"interrupted; continue with `python -m sweeper resume {folder}`", file=sys.stderr)
        return EXIT_CODES["interrupted"]
    except PoolError as error:
        raise InputError(f"{error}; fix that, then continue with `python -m sweeper resume {folder}`") from error
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise InputError(f"cannot be written: {os.strerror(error.errno)}; every finished trial is in {ledger.path}; mend that, "
                         f"then `python -m sweeper resume {folder}` completes the study",
                         file=str(error.filename or folder)) from error
    if not args.quiet:
        print_ending(Console(width=None if sys.stdout.isatty() else 160), folder, space, settings, ending)
    return EXIT_CODES.get(ending.why, 0)


def _choose(space: Space, trials: int, workers: int, *, fixed: bool, quiet: bool) -> Choice:
    """What `auto` means here; costs are measured only where they decide. fixed: the user gave the number of trials."""
    size = space.size()
    open_question = not fixed and size is not None and trials < size <= AUTO_MAX
    if not open_question:
        return choose(space, trials=trials, seconds_per_trial=None)
    from sweeper.run.sweep import SLOW_ENGINE
    from sweeper.workers.evaluator import measured_seconds, plugged

    if plugged(space):  # not in this process
        return choose(space, trials=trials, seconds_per_trial=None)
    with Progress(Console(stderr=True), quiet=quiet) as progress, progress.explained(SLOW_ENGINE):
        return choose(space, trials=trials, seconds_per_trial=measured_seconds(space) / workers)


def _sampler(name: str) -> str:
    from sweeper.space.sampler_names import check_name

    try:
        return check_name(name)
    except InputError as error:
        raise InputError(error.message, key="--sampler") from None


def _seed(number: int) -> int:
    if number < 0:
        raise InputError(f"must be 0 or more, got {number}", key="--seed")
    return number


def _workers(wanted: int | None) -> int:
    cores = len(os.sched_getaffinity(0))
    return _positive(wanted, "--workers") or cores


def _positive(number: int | None, option: str) -> int | None:
    if number is not None and number < 1:
        raise InputError(f"must be at least 1, got {number}", key=option)
    return number


def _seconds(text: str | None, option: str = "--timeout") -> float | None:
    """'30 min' in seconds; a bare number is seconds."""
    if text is None:
        return None
    try:
        seconds = units.parse(f"{text} s" if text.replace(".", "", 1).isdigit() else text, "s")
    except InputError as error:
        raise error.within(prefix=option) from None
    if seconds <= 0:
        raise InputError("must be above 0", key=option)
    return seconds
