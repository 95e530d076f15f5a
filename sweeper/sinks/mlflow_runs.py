"""A sweep in MLflow: one parent run with metrics at step = trial number, child runs for the front and the baselines.

The only module that imports mlflow (1.5 s, so lazily). Everything goes through MlflowClient: no global state.
"""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from simulator.inputs.errors import InputError
from simulator.inputs.secrets import masked
from sweeper.sinks.mlflow_labels import Labels, comparison, result_of
from sweeper.space.parameters import label
from sweeper.study import ledger
from sweeper.study.trial import Trial

STUDY_TAG = "sweeper.study_id"
TRIAL_TAG = "sweeper.trial"
KIND_TAG = "sweeper.kind"  # sweep, pareto or baseline
NOTE_TAG = "mlflow.note.content"  # the description that the UI shows
LEDGER_TAG = "sweeper.ledger"
HOST_TAG = "sweeper.host"
STEP_METRIC = "feasible"  # logged once for every trial: tells which steps a run already has
MAX_BATCH_METRICS = 1000  # MLflow's limit for one log_batch
MAX_CHILDREN = 100

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the sweep's own catching up does the rest
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def default_uri(folder: Path) -> str:
    """An SQLite file in the study's folder. Raises InputError for a folder whose name a URL would read otherwise: SQLAlchemy takes
    what follows `?` for a query and decodes %20, and the store would be somewhere else."""
    path = str((folder / "mlflow.db").resolve())
    if "?" in path or unquote(path) != path:
        raise InputError("has a '?' or '%' in its name, with which MLflow's store cannot be in it; choose another folder with "
                         "--out, or another store with --tracking-uri", file=str(folder))
    return f"sqlite:///{path}"


def check_uri(uri: str) -> str:
    """`uri` where MLflow can write to it. Raises InputError, also for file stores (refused since MLflow 3.13)."""
    scheme = uri.split(":", 1)[0].split("+", 1)[0].lower() if ":" in uri else ""
    if scheme in ("sqlite", "postgresql", "mysql", "mssql", "http", "https"):
        return uri
    what = "is a file store, which MLflow no longer writes" if scheme in ("", "file") else "has an unknown scheme"
    raise InputError(f"'{masked(uri)}' {what}; use sqlite:///FILE, postgresql://..., or the http:// address of a server",
                     key="--tracking-uri")


class SweepRun:
    """The parent run of a study: found again by the study's id, else created. Methods raise what MLflow raises."""

    def __init__(self, uri: str, labels: Labels) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        _speed_up_sqlite()
        self._client = MlflowClient(tracking_uri=uri)
        self._labels = labels
        self._experiment = self._find_experiment(uri)
        self.run_id = self._find_run()
        self.steps = self._logged_steps()

    def log_steps(self, steps: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Logs (step, metrics) that the run does not have yet; STEP_METRIC is among the metrics."""
        from mlflow.entities import Metric

        metrics: list[Metric] = []
        logged: list[int] = []
        for step, values in steps:
            if step in self.steps:
                continue
            now_ms = _now_ms()
            if len(metrics) + len(values) > MAX_BATCH_METRICS:
                self._log(metrics, logged)
                metrics, logged = [], []
            metrics.extend(Metric(name, value, now_ms, step) for name, value in values.items())
            logged.append(step)
        self._log(metrics, logged)

    def log_children(self, trials: Iterable[Trial]) -> None:
        """One finished child run for each trial; children of earlier calls that are not wanted any more are deleted."""
        wanted = {str(trial.number): trial for trial in list(trials)[:MAX_CHILDREN]}
        for run in self._search(f"tags.`mlflow.parentRunId` = '{self.run_id}'"):
            if wanted.pop(run.data.tags.get(TRIAL_TAG, ""), None) is None:
                self._client.delete_run(run.info.run_id)
        for trial in wanted.values():
            self._log_child(trial)
        front = [run.info.run_id for run in self._search(
            f"tags.`mlflow.parentRunId` = '{self.run_id}' and tags.`{KIND_TAG}` = 'pareto'")]
        self._client.set_tag(self.run_id, NOTE_TAG, self._labels.note + comparison(front, self._experiment))

    def log_files(self, files: Iterable[Path]) -> None:
        """Files and folders as artifacts; those that do not exist are left out."""
        for path in files:
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), path.name)
            elif path.exists():
                self._client.log_artifact(self.run_id, str(path))

    def log_summary(self, numbers: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Closing numbers and tags of the sweep."""
        from mlflow.entities import Metric, RunTag

        now_ms = _now_ms()
        self._client.log_batch(self.run_id, metrics=[Metric(name, float(v), now_ms, 0) for name, v in numbers.items()],
                               tags=[RunTag(name, value) for name, value in tags.items()])

    def end(self, status: str) -> None:
        """status: FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.run_id, status)

    def close_dead_runs(self) -> None:
        """Marks as KILLED the runs of sweeps on this machine whose driver is gone (nobody holds the ledger's lock)."""
        for run in self._search(f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{socket.gethostname()}'"):
            other = run.data.tags.get(LEDGER_TAG, "")
            if run.info.run_id != self.run_id and other and not ledger.in_use(Path(other)):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _find_experiment(self, uri: str) -> str:
        name = self._labels.experiment
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        own = uri == default_uri(self._labels.folder)  # then artifacts stay in the folder too; else the server says where
        location = (self._labels.folder / "mlartifacts").resolve().as_uri() if own else None
        return str(self._client.create_experiment(name, artifact_location=location))

    def _find_run(self) -> str:
        labels = self._labels
        for run in self._search(f"tags.`{STUDY_TAG}` = '{labels.study_id}'"):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        run = self._client.create_run(self._experiment, run_name=labels.folder.name, tags={
            **labels.tags, NOTE_TAG: labels.note, KIND_TAG: "sweep", STUDY_TAG: labels.study_id, HOST_TAG: socket.gethostname(),
            LEDGER_TAG: str((labels.folder / ledger.FILE_NAME).resolve())})
        from mlflow.entities import Param

        self._client.log_batch(run.info.run_id, params=[Param(k, str(v)[:500]) for k, v in labels.parameters.items()])
        return str(run.info.run_id)

    def _logged_steps(self) -> set[int]:
        return {metric.step for metric in self._client.get_metric_history(self.run_id, STEP_METRIC)}

    def _search(self, query: str) -> list[Any]:
        return list(self._client.search_runs([self._experiment], query, max_results=1000))

    def _log(self, metrics: list[Any], steps: list[int]) -> None:
        if metrics:
            self._client.log_batch(self.run_id, metrics=metrics)
            self.steps.update(steps)

    def _log_child(self, trial: Trial) -> None:
        from mlflow.entities import Metric, Param, RunTag

        name = trial.baseline or f"trial {trial.number}"
        kind = "baseline" if trial.baseline else "pareto"
        run = self._client.create_run(self._experiment, run_name=name, tags={
            **self._labels.tags_of(trial), "mlflow.parentRunId": self.run_id, TRIAL_TAG: str(trial.number), KIND_TAG: kind})
        now_ms = _now_ms()
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now_ms, 0) for name, value in result_of(trial, self._labels.columns).items()],
            params=[Param(name, label(value)[:500]) for name, value in trial.parameters.items()],
            tags=[RunTag("sweeper.status", trial.status), RunTag("sweeper.design_key", trial.design_key)])
        self._client.set_terminated(run.info.run_id)


def _speed_up_sqlite() -> None:
    """Write-ahead logging and one sync per checkpoint: 8 times faster runs, and the UI can read while we write."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _set_pragmas):
        event.listen(Engine, "connect", _set_pragmas)


def _set_pragmas(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def _now_ms() -> int:
    import time

    return int(time.time() * 1000)
