"""From a space and what the user asks for to a plan: the one place where a sweep's settings are decided.

The command line and `sweeper.api` both come here. What an option leaves open is the space's (`study:` in its file), and
what that leaves open has a default there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.design import units
from simulator.inputs.errors import InputError
from simulator.inputs.files import is_there
from simulator.inputs.secrets import HIDDEN
from simulator.pricing import cache
from simulator.pricing.cache import Snapshot
from simulator.version import simulator_version
from sweeper.run.progress import SLOW_ENGINE, Progress
from sweeper.run.proofs import wanted
from sweeper.run.warm_start import warm_start
from sweeper.search.auto_sampler import Choice, choose
from sweeper.sinks.mlflow_runs import check_uri, default_uri
from sweeper.sinks.optuna_storage import check_storage
from sweeper.space.enumeration import Enumeration
from sweeper.space.sampler_names import check_name
from sweeper.space.schedulers import slow_schedulers
from sweeper.space.space import Space
from sweeper.study import folder as study_folder
from sweeper.study import private
from sweeper.study.folder import COSTS_FILE
from sweeper.study.ledger import Ledger
from sweeper.study.settings import SweepSettings, settings_of
from sweeper.study.trial import Trial
from sweeper.workers.cluster import check_address
from sweeper.workers.cores import usable_cores

AUTO_MAX = 200_000  # designs; `auto` does not consider enumerating more


@dataclass(frozen=True)
class Options:
    """What a user asks for. None: as the space says, or as an interrupted study began.

    Times are text with a unit ('30 min'), or seconds as a bare number.
    """

    trials: int | None = None  # baselines included; a warm start's results are not counted
    workers: int | None = None
    seed: int | None = None
    sampler: str | None = None
    ladder: str | None = None  # auto, on or off
    timeout: str | float | None = None
    trial_timeout: str | float | None = None
    deterministic: bool = False
    tracking_uri: str | None = None
    storage: str | None = None
    warm_start: Sequence[str | Path] = ()  # folders of earlier studies
    address: str | None = None
    cache: str | Path | None = None  # costs.npz of an earlier study


@dataclass(frozen=True)
class Plan:
    """A sweep that is ready to run."""

    folder: Path
    space: Space
    ledger: Ledger  # open: whoever has the plan closes it
    settings: SweepSettings
    costs: Snapshot  # operator prices known already
    address: str | None  # of a Ray cluster; None: a private local one
    elastic: bool  # a worker on every CPU of that cluster, also on nodes that join later
    notes: tuple[str, ...] = ()  # what a person should know before it starts


def new_study(folder: Path, space: Space, options: Options, progress: Progress) -> Plan:
    """A plan for a new study in `folder`. Raises InputError where an option is wrong or the folder holds a study."""
    costs = cache.load(Path(options.cache)) if options.cache else cache.empty()
    settings, taken, notes = resolved(space, options, progress)
    if settings.tracking_uri is None:
        default_uri(folder)  # which refuses folders that cannot hold the store
    ledger = study_folder.create(folder, space, settings)
    for trial in taken:
        ledger.append(trial)
    return Plan(folder, space, ledger, settings, costs, options.address, _elastic(options), notes)


def resumed_study(folder: Path, options: Options) -> Plan:
    """A plan for what is missing in the study in `folder`, with its own settings but for those in `options`.

    Of these count: trials, workers, trial_timeout, tracking_uri and storage; timeout, which an interrupted study does not
    keep; address and cache. Raises InputError where an option is wrong, or the study is missing, in use or changed.
    """
    space, ledger = study_folder.reopen(folder)
    try:
        check_address(options.address)
        given = replace(ledger.header, settings=private.with_secrets(folder, ledger.header.settings))
        settings = replace(
            settings_of(given, trials=_positive(options.trials, "--trials"),
                        workers=_workers(options),
                        trial_timeout_s=_seconds(options.trial_timeout, "--trial-timeout"),
                        tracking_uri=None if options.tracking_uri is None else check_uri(options.tracking_uri),
                        storage=None if options.storage is None else check_storage(options.storage)),
            timeout_s=_seconds(options.timeout, "--timeout"))
        _check_whole_urls(settings)
        own, notes = _own_costs(folder / COSTS_FILE)
        costs = cache.merge([own, *([cache.load(Path(options.cache))] if options.cache else [])])
    except BaseException:
        ledger.close()
        raise
    other = ledger.header.code_version != simulator_version()
    notes += ("note: earlier trials of this study were simulated by another version of the simulator",) if other else ()
    return Plan(folder, space, ledger, settings, costs, options.address, _elastic(options), notes)


def resolved(space: Space, options: Options, progress: Progress) -> tuple[SweepSettings, list[Trial], tuple[str, ...]]:
    """(settings of a new study, results that a warm start takes over, what a person should know). Raises InputError."""
    spec, notes = space.study, []
    sampler = spec.sampler if options.sampler is None else check_name(options.sampler, "--sampler")
    trials = _positive(options.trials, "--trials") or spec.trials
    workers = _workers(options)
    workers = spec.workers or usable_cores() if workers is None else workers
    settings = SweepSettings(
        trials, workers, _seed(options.seed, spec.seed), sampler, options.deterministic,
        timeout_s=_seconds(spec.timeout if options.timeout is None else options.timeout, "--timeout"),
        trial_timeout_s=_seconds(spec.trial_timeout if options.trial_timeout is None else options.trial_timeout, "--trial-timeout")
        or SweepSettings.trial_timeout_s,
        tracking_uri=None if options.tracking_uri is None else check_uri(options.tracking_uri),
        storage=None if options.storage is None else check_storage(options.storage))
    check_address(options.address)
    if sampler == "auto":
        choice = _choice(space, trials, workers, progress, fixed=options.trials is not None)
        settings = replace(settings, sampler=choice.sampler)
        notes.append(f"searching with {choice.sampler}: {choice.why}")
    if settings.exhaustive:
        size = len(Enumeration(space)) + len(space.baselines)
        settings = replace(settings, trials=min(trials, size) if options.trials else size)
    notes += slow_schedulers(space)
    ladder, why = wanted(space, options.ladder or spec.ladder, settings.sampler)
    notes += [why] if why else []
    warm = warm_start([Path(folder) for folder in options.warm_start], space)
    if options.warm_start:
        if settings.exhaustive:
            raise InputError("an exhaustive sweep cannot begin with another study's results; reuse its operator prices with "
                             "--cache", key="--warm-start")
        notes.append(f"warm start: {len(warm.taken):,} results taken over, {len(warm.seeds):,} designs tried first")
    trials = settings.trials + len(warm.taken)
    settings = replace(settings, trials=trials, planned=trials, seeds=tuple(warm.seeds),
                       ladder=ladder)
    return settings, warm.taken, tuple(notes)


def _own_costs(path: Path) -> tuple[Snapshot, tuple[str, ...]]:
    """The study's operator prices; none, with a note, where their file is damaged: they are computed again."""
    if not is_there(path):
        return cache.empty(), ()
    try:
        return cache.load(path), ()
    except InputError as error:
        return cache.empty(), (f"note: {error.within(file=str(path))}; operator prices are computed again",)


def _check_whole_urls(settings: SweepSettings) -> None:
    """Raises InputError where a URL's password was masked and is not in the folder any more (a copied study)."""
    for url, option in ((settings.tracking_uri, "--tracking-uri"), (settings.storage, "--storage")):
        if url is not None and HIDDEN in url:
            raise InputError(f"'{url}' has no password here (private.json is not in the folder): give the URL again", key=option)


def _choice(space: Space, trials: int, workers: int, progress: Progress, *, fixed: bool) -> Choice:
    """What `auto` means here; a simulation is timed only where that decides. fixed: the user gave the number of trials."""
    from sweeper.workers.evaluator import measured_seconds, plugged

    size = space.size()
    open_question = not fixed and size is not None and trials < size <= AUTO_MAX
    if not open_question or plugged(space):  # another package's device is not called in this process
        return choose(space, trials=trials, seconds_per_trial=None)
    with progress.explained(SLOW_ENGINE):
        return choose(space, trials=trials, seconds_per_trial=measured_seconds(space) / max(workers, 1))


def _elastic(options: Options) -> bool:
    return options.address is not None and options.workers is None


def _workers(options: Options) -> int | None:
    """0: this process is the only worker, without Ray."""
    if options.workers is not None and options.workers < 0:
        raise InputError(f"must be 0 (in this process, without Ray) or more, got {options.workers}", key="--workers")
    if options.workers == 0 and options.address is not None:
        raise InputError("0 workers are this process, and no cluster's: leave one of them out", key="--address")
    return options.workers


def _seed(wanted: int | None, default: int) -> int:
    if wanted is not None and wanted < 0:
        raise InputError(f"must be 0 or more, got {wanted}", key="--seed")
    return default if wanted is None else wanted


def _positive(number: int | None, option: str) -> int | None:
    if number is not None and number < 1:
        raise InputError(f"must be at least 1, got {number}", key=option)
    return number


def _seconds(time: str | float | None, option: str) -> float | None:
    """'30 min' in seconds; a bare number is seconds."""
    if time is None:
        return None
    text = str(time)
    try:
        seconds = units.parse(f"{text} s" if text.replace(".", "", 1).isdigit() else text, "s")
    except InputError as error:
        raise error.within(prefix=option) from None
    if seconds <= 0:
        raise InputError("must be above 0", key=option)
    return seconds
