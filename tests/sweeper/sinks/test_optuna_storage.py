"""`--storage`: an Optuna storage gets every finished trial once, read back with Optuna itself."""

import sqlite3
import threading
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from simulator.inputs.errors import InputError
from sweeper.sinks.optuna_storage import Mirror, check_storage, study_name
from sweeper.space.space import Space
from sweeper.study import ledger
from sweeper.study.ending import Ending
from sweeper.study.trial import Trial
from tests.sweeper.spaces import complete, space_of

STUDY = "0123456789abcdef"


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return space_of(tmp_path, "  parallelism.tensor: {choices: [1, 2, 4]}\n  serving.async_scheduling: {choices: [true, false]}")


@pytest.fixture
def book(tmp_path: Path):
    opened = ledger.create(tmp_path / "study" / "trials.jsonl", ledger.Header(STUDY, "h", "v", 0))
    yield opened
    opened.close()


def url_of(kind: str, folder: Path) -> str:
    return f"sqlite:///{folder}/optuna.db" if kind == "sqlite" else str(folder / "optuna.log")


def study_at(url: str, space: Space) -> optuna.Study:
    storage = url if "://" in url else JournalStorage(JournalFileBackend(url))
    return optuna.load_study(study_name=study_name(space, STUDY), storage=storage)


def mirrored(url: str, space: Space, book: ledger.Ledger, warn=print) -> bool:
    mirror = Mirror(url, space, STUDY, book.path, warn)
    mirror.start()
    mirror.close(Ending("complete", None, {}))
    return mirror.complete


def trials(first: int, last: int) -> list[Trial]:
    return [complete(n, 10.0 + n, 100.0 - n, parameters={"parallelism.tensor": (1, 2, 4)[n % 3]}) for n in range(first, last)]


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_states_values_and_constraints_arrive_and_a_second_run_doubles_nothing(kind, tmp_path, space, book):
    url = url_of(kind, tmp_path)
    for trial in [*trials(0, 2),
                  Trial(2, {"parallelism.tensor": 2}, "infeasible", constraints={"memory": 0.25}, reason="memory: too small"),
                  Trial(3, {"parallelism.tensor": 4, "serving.async_scheduling": True}, "failed", reason="crashed"),
                  complete(4, 5.0, 7.0, parameters={}, baseline="tpu"),
                  complete(5, 9.0, 9.0, parameters={"parallelism.tensor": 1}, status="infeasible", constraints={"slo": 2.0}),
                  Trial(6, {"parallelism.tensor": 1}, "pruned", reason="dominated", rung="bound")]:
        book.append(trial)
    assert mirrored(url, space, book)
    for trial in trials(7, 10):
        book.append(trial)
    assert mirrored(url, space, book)
    study = study_at(url, space)
    found = {t.user_attrs["trial"]: t for t in study.trials}
    assert len(study.trials) == len(found) == 10
    assert [found[n].state for n in range(7)] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL,
                                                  TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED]
    assert found[1].values == [11.0, 99.0] and found[1].params == {"parallelism.tensor": 2}
    assert found[3].params == {"parallelism.tensor": 4, "serving.async_scheduling": True}
    assert found[2].constraints == {"memory": 0.25} and found[4].user_attrs["baseline"] == "tpu"
    assert [d.name for d in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert 5 not in {t.user_attrs["trial"] for t in study.best_trials}  # infeasible, though its latency is the second best


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_an_outage_in_the_middle_is_one_warning_and_is_caught_up_without_doubles(kind, tmp_path, space, book, monkeypatch):
    url, real, calls, failed = url_of(kind, tmp_path), optuna.Study.add_trial, [], threading.Event()

    def failing(study, trial):
        calls.append(trial)
        if len(calls) == 6:
            failed.set()
            raise ConnectionError("storage is away")
        real(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", failing)
    warned: list[str] = []
    for trial in trials(0, 20):
        book.append(trial)
    mirror = Mirror(url, space, STUDY, book.path, warned.append)
    mirror.start()
    assert failed.wait(30)
    mirror.close(Ending("complete", None, {}))
    assert mirror.complete  # the end tries once more at once
    assert sorted(t.user_attrs["trial"] for t in study_at(url, space).trials) == list(range(20))
    assert len(warned) == 1 and "storage is away" in warned[0]


def test_a_locked_database_is_one_warning_and_resume_completes_it(tmp_path, space, book):
    """Another process holds SQLite's exclusive lock until the sweep's end and beyond."""
    url = url_of("sqlite", tmp_path)
    book.append(trials(0, 1)[0])
    assert mirrored(url, space, book)
    for trial in trials(1, 5):
        book.append(trial)
    warned: list[str] = []
    holder = sqlite3.connect(tmp_path / "optuna.db", isolation_level=None)
    try:
        holder.execute("begin exclusive")
        assert not mirrored(url + "?timeout=0.1", space, book, warned.append)  # SQLite's own wait: 5 s where not said
    finally:
        holder.close()
    assert len(warned) == 2 and "database is locked" in warned[0] and "resume" in warned[1]
    assert mirrored(url, space, book)
    assert sorted(t.user_attrs["trial"] for t in study_at(url, space).trials) == list(range(5))


def test_a_storage_that_stays_away_says_how_to_go_on(tmp_path, space, book):
    warned: list[str] = []
    book.append(trials(0, 1)[0])
    assert not mirrored(f"sqlite:///{tmp_path}/missing/optuna.db", space, book, warned.append)
    assert len(warned) == 2 and "cannot be written" in warned[0] and "resume" in warned[1]


@pytest.mark.parametrize("url", ["redis://localhost", "http://localhost:8080", ""])
def test_other_schemes_are_refused_in_one_line(url):
    with pytest.raises(InputError, match=r"--storage: .*sqlite:///FILE"):
        check_storage(url)


def test_a_journal_with_a_torn_last_line_goes_on(tmp_path, space, book):
    url = url_of("journal", tmp_path)
    book.append(trials(0, 1)[0])
    assert mirrored(url, space, book)
    with Path(url).open("ab") as file:
        file.write(b'{"op_code":4,"worker_')
    for trial in trials(1, 3):
        book.append(trial)
    assert mirrored(url, space, book)
    assert sorted(t.user_attrs["trial"] for t in study_at(url, space).trials) == [0, 1, 2]


@pytest.mark.parametrize("content", [b"a note without a newline", b"a,b\n1,2\n3", b"{\"a\": 1}\ntorn", bytes(5000), b"[1]\nx"])
def test_a_file_that_is_no_journal_is_refused_and_stays_as_it_is(content, space, book, tmp_path):
    path = tmp_path / "precious"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a journal of Optuna's"):
        check_storage(str(path))
    said: list[str] = []
    mirror = Mirror(str(path), space, STUDY, book.path, said.append)
    mirror.start()
    mirror.close(Ending("complete", None, {}))
    assert path.read_bytes() == content
    assert "is not a journal" in said[0]


def test_a_database_given_as_a_file_is_refused_and_stays_whole(tmp_path):
    path = tmp_path / "optuna.db"
    with sqlite3.connect(path) as database:
        database.execute("create table a (b)")
    before = path.read_bytes()
    with pytest.raises(InputError, match="give the database as sqlite:///"):
        check_storage(str(path))
    assert path.read_bytes() == before


def test_a_journal_of_optunas_is_taken_also_where_its_last_line_is_torn(space, book, tmp_path):
    url = url_of("journal", tmp_path)
    study_at_name = optuna.create_study(storage=JournalStorage(JournalFileBackend(url)), study_name="other")
    with Path(url).open("ab") as file:
        file.write(b'{"op_code": 4, "torn')
    assert check_storage(url) == url
    assert study_at_name.study_name == "other"


def test_a_warning_has_no_password(space, book):
    said: list[str] = []
    mirror = Mirror("postgresql+psycopg://bob:S3CRETPW@127.0.0.1:1/db", space, STUDY, book.path, said.append)
    mirror.start()
    mirror.close(Ending("complete", None, {}))
    assert said and "S3CRETPW" not in " ".join(said)
