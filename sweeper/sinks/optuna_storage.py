"""`--storage URL` copies a study's finished trials to an Optuna storage, so that optuna-dashboard can show them.

A thread follows the ledger file, so the loop that feeds the workers has nothing to do with it. The ledger stays the source
of truth: which trials the storage has is asked from the storage, at the start and after each failure, so that an outage or
a kill leaves nothing out and nothing twice (one trial is one transaction, or one line of a journal).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from simulator.inputs.errors import InputError
from simulator.inputs.files import MIB, is_there, opened, parse_json
from simulator.inputs.secrets import masked
from sweeper.sinks.follower import StoreFollower
from sweeper.space.parameters import Choices, label
from sweeper.space.space import Space
from sweeper.study.ending import Ending
from sweeper.study.ledger import cut_torn_tail
from sweeper.study.trial import Trial, from_json_line

DATABASES = ("sqlite", "postgresql", "mysql")
MOST_RECORD = MIB  # bytes of a journal's first line
NUMBER = "trial"  # user attribute: the number in the ledger (Optuna numbers trials as they arrive)


def check_storage(url: str) -> str:
    """`url` where it is a database, or the file of an Optuna journal. Raises InputError."""
    scheme, separator, _ = url.partition("://")
    if not url or (separator and scheme.split("+", 1)[0].lower() not in DATABASES):
        raise InputError(f"'{masked(url)}' has an unknown scheme; use sqlite:///FILE, postgresql://..., mysql://..., or the path "
                         "of a journal file", key="--storage")
    if not separator:
        check_journal(Path(url))
    return url


def check_journal(path: Path) -> None:
    """Raises InputError where `path` is there and no journal of Optuna's: any other file stays as it is."""
    if not is_there(path):
        return
    with opened(path, key="--storage") as file:
        first = file.readline(MOST_RECORD)
        if not first:
            return
        try:
            record = parse_json(first)
        except (InputError, UnicodeDecodeError):
            record = None
        if not isinstance(record, dict) or "op_code" not in record:
            hint = f"; give the database as sqlite:///{path}" if first.startswith(b"SQLite format 3") else ""
            raise InputError(f"exists and is not a journal of Optuna's{hint}; name another file", file=str(path), key="--storage")


def study_name(space: Space, study_id: str) -> str:
    """The study's name in the storage."""
    return f"{space.name}-{study_id[:8]}"


class Mirror(StoreFollower):
    """Copies one ledger. `warn` takes a line of text, from the thread."""

    def __init__(self, url: str, space: Space, study_id: str, ledger: Path, warn: Callable[[str], None]) -> None:
        super().__init__("the Optuna storage", f"the Optuna storage {masked(url)}", "`resume` with the same --storage completes it",
                         warn)
        self._url, self._space, self._ledger = url, space, ledger
        self._name = study_name(space, study_id)
        self._study: Any = None
        self._known: set[int] = set()  # numbers that the storage has
        self._offset = 0  # in the ledger: everything before it was copied

    def disconnect(self) -> None:
        self._study, self._offset = None, 0

    def copy(self, ending: Ending | None) -> None:
        """Everything whole in the ledger that the storage does not have."""
        if self._study is None:
            self._study = _open(self._url, self._name, self._space)
            self._known = {t.user_attrs[NUMBER] for t in self._study.get_trials(deepcopy=False) if NUMBER in t.user_attrs}
        with self._ledger.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if self._give_up.is_set() or not line.endswith(b"\n"):
                    return
                if self._offset:  # the first line is the header
                    self._add(from_json_line(line.decode()))
                self._offset += len(line)

    def _add(self, trial: Trial) -> None:
        if trial.number not in self._known:
            self._study.add_trial(frozen(trial, self._space))
            self._known.add(trial.number)


def frozen(trial: Trial, space: Space) -> Any:
    """The trial as Optuna keeps it: values as the space's file has them, constraints, and in words why it ended."""
    import optuna

    from sweeper.search.optuna_trials import constraints, outcome

    state, values = outcome(trial, space)
    distributions, parameters = {}, {}
    for parameter in space.parameters:
        if parameter.name in trial.parameters:
            value = trial.parameters[parameter.name]
            distributions[parameter.name], parameters[parameter.name] = _shown(parameter.domain, value)
    notes = {NUMBER: trial.number, "status": trial.status, "reason": trial.reason, "baseline": trial.baseline,
             "design_key": trial.design_key, "rung": trial.rung, "seconds": trial.seconds}
    return optuna.trial.create_trial(
        state=state, values=values, params=parameters, distributions=distributions, constraints=constraints(trial),
        user_attrs={name: note for name, note in notes.items() if note != ""})


def _shown(domain: Any, value: Any) -> tuple[Any, Any]:
    """Distribution and value that a reader of the dashboard understands: listed values as themselves, not their index."""
    from optuna.distributions import CategoricalDistribution

    if not isinstance(domain, Choices):
        return domain.distribution(), domain.encode(value)
    plain = all(isinstance(v, bool | int | float | str) for v in domain.values)
    return (CategoricalDistribution(domain.values if plain else [label(v) for v in domain.values]),
            value if plain else label(value))


def in_memory(space: Space, trials: Iterable[Trial]) -> Any:
    """A study in memory that holds the trials."""
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    study = optuna.create_study(study_name=space.name, directions=space.directions)
    _name_values(study, space)
    study.add_trials([frozen(trial, space) for trial in trials])
    return study


def _name_values(study: Any, space: Space) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental
        study.set_metric_names([o.label for o in space.objectives])


def _open(url: str, name: str, space: Space) -> Any:
    import optuna

    for logger in ("optuna", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = url if "://" in url else optuna.storages.JournalStorage(_journal(Path(url).resolve()))
        study = optuna.create_study(storage=storage, study_name=name, directions=space.directions, load_if_exists=True)
    _name_values(study, space)
    return study


def _journal(path: Path) -> Any:
    """A journal whose last line is whole: what a full disk or a power cut left half is cut off, since Optuna would write
    its next record behind it and never read the file again.

    path: absolute. The lock is a symbolic link to it, and Optuna never stops waiting for one that leads nowhere.
    """
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    check_journal(path)
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        with path.open("ab+") as file:
            cut_torn_tail(file.fileno())
    finally:
        lock.release()
    return JournalFileBackend(str(path), lock)
