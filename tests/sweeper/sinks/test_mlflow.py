"""MLflow holds a sweep as one run, catches up after an outage, and never stops the sweep."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulator.inputs.errors import InputError
from sweeper.sinks.mlflow_follower import Tracker
from sweeper.sinks.mlflow_labels import Labels
from sweeper.sinks.mlflow_runs import SweepRun, check_uri, default_uri
from sweeper.space.file import load_space
from sweeper.study import ledger
from sweeper.study.ending import Ending
from sweeper.study.tally import Tally
from sweeper.study.trial import Trial


def trial(number: int, baseline: str = "") -> Trial:
    return Trial(number, {"tp": number}, "complete", metrics={"ttft_mean": 1.0 + number}, baseline=baseline,
                 objectives={"ttft": 1.0 + number}, seconds=0.01)


def labels(folder: Path, study_id: str = "s1") -> Labels:
    return Labels("space", study_id, folder, {"seed": 1})


def tracker_of(folder: Path, study_id: str, warn: Callable[[str], None] = print, earlier: Sequence[Trial] = ()) -> Tracker:
    return Tracker(default_uri(folder), labels(folder, study_id), Tally(load_space("quick")), warn, earlier)


def closed(tracker: Tracker, children: Sequence[Trial] = (), why: str = "complete") -> bool:
    found = SimpleNamespace(kept=[t for t in children if t.baseline], front=children)
    tracker.close(Ending(why, found, {"cache_hits": 3.0}))  # type: ignore[arg-type]
    return tracker.complete


def query(folder: Path, sql: str) -> list[tuple]:
    with sqlite3.connect(folder / "mlflow.db") as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose MLflow schema exists: creating it takes seconds."""
    folder = tmp_path_factory.mktemp("study")
    SweepRun(default_uri(folder), labels(folder, "first"))
    return folder


def test_one_parent_with_a_step_per_trial_and_children_for_front_and_baselines(folder: Path) -> None:
    warnings: list[str] = []
    (folder / "pareto.csv").write_text("trial\n1\n")
    tracker = tracker_of(folder, "s1", warnings.append)
    tracker.start()
    for number in range(40):
        tracker.on_trial(trial(number))
    assert closed(tracker, [trial(1), trial(0, "h100")])
    assert warnings == []
    [(run_id, status, artifacts)] = query(
        folder, "select r.run_uuid, r.status, r.artifact_uri from runs r join tags t on t.run_uuid = r.run_uuid "
                "where t.key = 'sweeper.study_id' and t.value = 's1'")
    assert status == "FINISHED"
    steps = query(folder, f"select step, value from metrics where run_uuid = '{run_id}' and key = 'ttft' order by step")
    assert steps == [(n, 1.0 + n) for n in range(40)]
    assert (Path(artifacts.removeprefix("file://")) / "pareto.csv").read_text() == "trial\n1\n"
    names = query(folder, "select r.name from runs r join tags t on t.run_uuid = r.run_uuid "
                          f"where t.key = 'mlflow.parentRunId' and t.value = '{run_id}' order by r.name")
    assert names == [("h100",), ("trial 1",)]
    assert query(folder, "pragma journal_mode") == [("wal",)]


def test_resume_continues_the_parent_and_logs_only_what_is_missing(folder: Path) -> None:
    first = tracker_of(folder, "s2")
    first.start()
    for number in range(3):
        first.on_trial(trial(number))
    assert closed(first, [trial(0), trial(1)], "interrupted")
    second = tracker_of(folder, "s2", earlier=[trial(n) for n in range(5)])
    second.start()
    second.on_trial(trial(5))
    assert closed(second, [trial(1), trial(5)])
    runs = query(folder, "select r.run_uuid, r.status from runs r join tags t on t.run_uuid = r.run_uuid "
                         "where t.key = 'sweeper.study_id' and t.value = 's2'")
    assert [status for _, status in runs] == ["FINISHED"]
    steps = query(folder, f"select step from metrics where run_uuid = '{runs[0][0]}' and key = 'feasible' order by step")
    assert steps == [(n,) for n in range(6)]
    children = query(folder, "select r.name from runs r join tags t on t.run_uuid = r.run_uuid where r.lifecycle_stage = "
                             f"'active' and t.key = 'mlflow.parentRunId' and t.value = '{runs[0][0]}' order by r.name")
    assert children == [("trial 1",), ("trial 5",)]


def test_a_dead_driver_leaves_no_running_parent_and_a_live_one_is_left_alone(folder: Path) -> None:
    dead, alive = folder / "dead", folder / "alive"
    header = ledger.Header("x", "h", "v", 0)
    ledger.create(dead / "trials.jsonl", header).close()
    held = ledger.create(alive / "trials.jsonl", header)
    ids = {name: SweepRun(default_uri(folder), labels(folder / name, name)).run_id for name in ("dead", "alive")}
    SweepRun(default_uri(folder), labels(folder, "next")).close_dead_runs()
    statuses = dict(query(folder, "select run_uuid, status from runs"))
    assert statuses[ids["dead"]] == "KILLED"
    assert statuses[ids["alive"]] == "RUNNING"
    held.close()


def test_an_outage_is_one_warning_and_the_next_run_catches_up(folder: Path, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("sweeper.sinks.mlflow_follower.SweepRun", lambda *_: (_ for _ in ()).throw(ConnectionError("server is away")))
        tracker = tracker_of(folder, "s3", warnings.append)
        tracker.start()
        for number in range(100):
            tracker.on_trial(trial(number))
        assert not closed(tracker)
    assert len(warnings) == 2 and "server is away" in warnings[0] and "resume" in warnings[1]
    again = tracker_of(folder, "s3", warnings.append, [trial(n) for n in range(100)])
    again.start()
    assert closed(again)
    steps = query(folder, "select m.step from metrics m join tags t on t.run_uuid = m.run_uuid where m.key = 'feasible' "
                          "and t.key = 'sweeper.study_id' and t.value = 's3'")
    assert len(steps) == 100


@pytest.mark.parametrize("uri", ["./mlruns", "file:./mlruns", "file:///tmp/mlruns", "mlruns", "ftp://host"])
def test_stores_that_cannot_be_written_are_refused_in_one_line(uri: str) -> None:
    with pytest.raises(InputError, match=r"--tracking-uri: .* use sqlite:///FILE"):
        check_uri(uri)


def test_databases_and_servers_are_accepted() -> None:
    for uri in ("sqlite:///x.db", "postgresql+psycopg://u@h/db", "http://localhost:5000", "https://mlflow.example"):
        assert check_uri(uri) == uri


def test_columns_tags_and_a_link_to_the_comparison(folder: Path) -> None:
    named = Labels("space", "named", folder, {}, {"ttft": "ttft_ms"}, {"sweeper.model": "m"}, "asks",
                   lambda trial: {"sweeper.hardware": f"h{trial.number}"})
    run = SweepRun(default_uri(folder), named)
    run.log_children([trial(3), trial(4), trial(0, "h100")])
    children = query(folder, "select r.run_uuid, r.name from runs r join tags t on t.run_uuid = r.run_uuid where "
                             f"t.key = 'mlflow.parentRunId' and t.value = '{run.run_id}' order by r.name")
    assert [name for _, name in children] == ["h100", "trial 3", "trial 4"]
    values = dict(query(folder, f"select key, value from latest_metrics where run_uuid = '{children[1][0]}'"))
    assert values == {"ttft_ms": 4.0, "ttft_mean_s": 4.0}
    tags = dict(query(folder, f"select key, value from tags where run_uuid = '{children[1][0]}'"))
    assert (tags["sweeper.hardware"], tags["sweeper.kind"]) == ("h3", "pareto")
    parent = dict(query(folder, f"select key, value from tags where run_uuid = '{run.run_id}'"))
    assert parent["sweeper.model"] == "m" and parent["sweeper.kind"] == "sweep"
    note = parent["mlflow.note.content"]
    assert note.startswith("asks") and "[Compare the 2 designs of the front](#/compare-runs?runs=%5B%22" in note
    assert children[0][0] not in note and children[1][0] in note and children[2][0] in note


@pytest.mark.parametrize("name", ["plain", "odd a#b", "a;b&c=d", "100%", "ä"])
def test_the_store_is_in_the_folder_whatever_its_name(name, tmp_path):
    from mlflow.tracking import MlflowClient

    folder = tmp_path / name
    folder.mkdir()
    client = MlflowClient(tracking_uri=default_uri(folder))
    client.create_experiment("x", artifact_location=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "mlflow.db").stat().st_size


@pytest.mark.parametrize("name", ["odd a?b#c%20d", "a?b", "c%20d"])
def test_a_folder_that_cannot_hold_the_store_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="choose another folder with --out"):
        default_uri(tmp_path / name)
