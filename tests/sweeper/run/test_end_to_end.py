"""The real command with real Ray and real MLflow: it is killed, resumed, repeated and fed with an earlier cache.

Where neither a signal nor the start of a process matters, the command runs in this process, on one Ray cluster.
"""

import contextlib
import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from simulator.pricing import cache
from sweeper.__main__ import main
from sweeper.study import ledger

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[3]
TRIALS = 80

SPACE = """
name: small
design: npu-chat
parameters:
  parallelism.tensor: {ordinal: [1, 2, 4]}
  hardware.memory.stacks: {ordinal: [2, 4, 6, 8]}
  hardware.npu.arrays: {ordinal: [2, 4, 8, 16]}
  serving.max_num_seqs: {ordinal: [16, 32, 64, 128]}
constraints:
  few: parallelism.tensor * hardware.memory.stacks <= 24
  slo: ttft_p99 <= 20 s
objectives:
  - {minimize: tpot_p95, unit: ms}
  - {minimize: cost_per_hour}
  - {maximize: output_throughput}
baselines:
  npu: {}
"""


def sweeper(*arguments: str, check: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "sweeper", *arguments], cwd=ROOT, capture_output=True, text=True,
                          timeout=240, check=False)
    assert done.returncode == check, done.stderr
    return done


def here(*arguments: str, check: int = 0) -> str:
    """The command in this process: what it printed, to stdout and to stderr."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(list(arguments))
    assert code == check, printed.getvalue()
    return printed.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "small.yaml").write_text(SPACE)
    return folder


def words(place: Path, out: str, *more: str) -> list[str]:
    return ["run", str(place / "small.yaml"), "--trials", str(TRIALS), "--workers", "2", "--seed", "5", "--deterministic",
            "--out", str(place / out), "--quiet", *more]


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """An uninterrupted deterministic study on two workers."""
    sweeper(*words(place, "whole"))
    return place / "whole"


def metrics_of(folder: Path) -> dict[int, Any]:
    _, trials = ledger.read(folder / "trials.jsonl")
    return {t.number: (t.parameters, t.status, t.metrics, t.objectives, t.constraints) for t in trials}


def summary(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return result


def test_a_study_leaves_everything_behind(whole: Path) -> None:
    for name in ("trials.jsonl", "space.yaml", "costs.npz", "pareto.csv", "trials.parquet", "best", "mlflow.db",
                 "summary.json", "report.html"):
        assert (whole / name).exists(), name
    lines = (whole / "trials.jsonl").read_text().splitlines()
    assert len(lines) == 1 + TRIALS
    rows = list(csv.DictReader((whole / "pareto.csv").open()))
    assert rows and next(iter(rows[0])) == "trial"


def test_mlflow_has_the_sweep_as_one_run_with_the_front_and_the_baseline_below(whole: Path) -> None:
    with sqlite3.connect(whole / "mlflow.db") as connection:
        [(parent, status)] = connection.execute(
            "select r.run_uuid, r.status from runs r join tags t on t.run_uuid = r.run_uuid where t.key = 'sweeper.study_id'"
        ).fetchall()
        [(steps,)] = connection.execute(
            f"select count(distinct step) from metrics where run_uuid = '{parent}' and key = 'feasible'").fetchall()
        children = {name for (name,) in connection.execute(
            "select r.name from runs r join tags t on t.run_uuid = r.run_uuid "
            f"where t.key = 'mlflow.parentRunId' and t.value = '{parent}'")}
        logged = dict(connection.execute(f"select key, value from metrics where run_uuid = '{parent}' and step = 0"))
    assert (status, steps) == ("FINISHED", TRIALS)
    front = {f"trial {row['trial']}" for row in csv.DictReader((whole / "pareto.csv").open())}
    assert children == front | {"npu"}
    assert {"cache_hits", "cache_misses", "cache_bytes", "cache_saved_s"} <= logged.keys()


def test_killed_half_way_and_resumed_no_trial_is_lost_or_run_twice(place: Path, whole: Path) -> None:
    folder = place / "killed"
    book = folder / "trials.jsonl"
    driver = subprocess.Popen([sys.executable, "-m", "sweeper", *words(place, "killed")], cwd=ROOT)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not book.exists() or len(book.read_bytes().splitlines()) < TRIALS // 2):
        time.sleep(0.005)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = book.read_bytes().splitlines(keepends=True)
    finished = [line for line in before if line.endswith(b"\n")]
    assert TRIALS // 2 <= len(finished) <= TRIALS  # the header among them: at least one trial is missing
    sweeper("resume", str(folder), "--quiet")
    after = book.read_bytes().splitlines(keepends=True)
    assert after[: len(finished)] == finished
    assert sorted(json.loads(line)["number"] for line in after[1:]) == list(range(TRIALS))
    assert (folder / "pareto.csv").read_bytes() == (whole / "pareto.csv").read_bytes()
    with sqlite3.connect(folder / "mlflow.db") as connection:
        statuses = connection.execute("select status from runs r join tags t on t.run_uuid = r.run_uuid "
                                      "where t.key = 'sweeper.study_id'").fetchall()
    assert statuses == [("FINISHED",)]


def test_one_worker_finds_the_same_front_to_the_byte(place: Path, whole: Path, ray_cluster: None) -> None:
    here(*words(place, "one", "--workers", "1"))
    assert (place / "one" / "pareto.csv").read_bytes() == (whole / "pareto.csv").read_bytes()


def test_a_second_study_with_the_firsts_cache_computes_nothing_and_finds_the_same(place: Path, whole: Path, ray_cluster: None) -> None:
    first = summary(whole)
    assert first["cache_misses"] > 0 and first["cache_hits"] > 0
    assert first["cache_entries"] == len(cache.load(whole / "costs.npz"))
    folder = place / "cached"
    here(*words(place, "cached", "--cache", str(whole / "costs.npz")))
    second = summary(folder)
    assert second["cache_misses"] == 0
    assert second["cache_hits"] == first["cache_hits"] + first["cache_misses"]
    assert second["cache_computed_s"] == 0.0
    assert metrics_of(folder) == metrics_of(whole)
    assert (folder / "pareto.csv").read_bytes() == (whole / "pareto.csv").read_bytes()


def test_an_interrupted_sweep_ends_in_order_and_says_how_to_go_on(place: Path) -> None:
    folder = place / "interrupted"
    book = folder / "trials.jsonl"
    driver = subprocess.Popen(
        [sys.executable, "-m", "sweeper", "run", str(place / "small.yaml"), "--trials", "150", "--workers", "2",
         "--sampler", "random", "--out", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not book.exists() or len(book.read_bytes().splitlines()) < 5):
        time.sleep(0.005)
    driver.send_signal(signal.SIGTERM)
    out, _ = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert f"python -m sweeper resume {folder}" in " ".join(out.split())
    with sqlite3.connect(folder / "mlflow.db") as connection:
        statuses = connection.execute("select status from runs r join tags t on t.run_uuid = r.run_uuid "
                                      "where t.key = 'sweeper.study_id'").fetchall()
    assert statuses == [("KILLED",)]
    finished = len(book.read_bytes().splitlines()) - 1
    assert finished == summary(folder)["trials"] < 150


def test_an_existing_study_is_not_overwritten(place: Path, whole: Path) -> None:
    again = here("run", str(place / "small.yaml"), "--out", str(whole), check=2)
    assert f"python -m sweeper resume {whole}" in again and len(again.splitlines()) == 1
    other = here("run", "quick", "--out", str(whole), check=2)
    assert "another space" in other and len(other.splitlines()) == 1


def test_resuming_a_complete_study_evaluates_nothing(whole: Path) -> None:
    kept = {name: (whole / name).read_bytes() for name in ("trials.jsonl", "pareto.csv", "summary.json")}
    assert f"{TRIALS} trials" in here("resume", str(whole))
    assert {name: (whole / name).read_bytes() for name in kept} == kept


def test_a_changed_space_cannot_be_resumed(place: Path, whole: Path) -> None:
    file = whole / "space.yaml"
    text = file.read_text()
    file.write_text(text.replace("ttft_p99 <= 20 s", "ttft_p99 <= 30 s"))
    try:
        refused = here("resume", str(whole), check=2)
    finally:
        file.write_text(text)
    assert "is not the space that this study began with" in refused


def test_report_and_best_read_the_study(whole: Path) -> None:
    before = (whole / "pareto.csv").read_bytes()
    here("report", str(whole))
    assert (whole / "pareto.csv").read_bytes() == before
    assert "minimize tpot_p95" in here("best", str(whole))


def test_bad_input_ends_the_process_with_one_line_and_exit_code_2() -> None:
    """Every such input, in this process: tests/test_command_line_errors.py."""
    refused = sweeper("run", "quick", "--tracking-uri", "./mlruns", check=2)
    assert refused.stderr.startswith("error: ") and len(refused.stderr.splitlines()) == 1
    assert "file store" in refused.stderr and refused.stdout == ""


def test_help_does_not_wait_for_heavy_imports() -> None:
    loaded = subprocess.run([sys.executable, "-c", "import sys, sweeper.__main__ as m\ntry: m.main(['run', '--help'])\n"
                             "except SystemExit: print([n for n in ('ray', 'mlflow', 'optuna', 'numpy') if n in sys.modules])"],
                            cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ})
    assert loaded.stdout.splitlines()[-1] == "[]"
