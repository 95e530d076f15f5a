"""The real command with real Ray and real MLflow: it is killed, resumed, repeated and fed with an earlier cache."""

import csv
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

from simulator.costs import cache
from sweeper import ledger

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "small.yaml").write_text(SPACE)
    return folder


def run(place: Path, out: str, *more: str) -> Path:
    sweeper("run", str(place / "small.yaml"), "--trials", str(TRIALS), "--workers", "2", "--seed", "5",
            "--out", str(place / out), "--quiet", *more)
    return place / out


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """An uninterrupted deterministic study on two workers."""
    return run(place, "whole", "--deterministic")


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
    driver = subprocess.Popen(
        [sys.executable, "-m", "sweeper", "run", str(place / "small.yaml"), "--trials", str(TRIALS), "--workers", "2",
         "--seed", "5", "--deterministic", "--quiet", "--out", str(folder)], cwd=ROOT)
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


def test_one_worker_finds_the_same_front_to_the_byte(place: Path, whole: Path) -> None:
    folder = run(place, "one", "--deterministic", "--workers", "1")
    assert (folder / "pareto.csv").read_bytes() == (whole / "pareto.csv").read_bytes()


def test_a_second_study_with_the_firsts_cache_computes_nothing_and_finds_the_same(place: Path, whole: Path) -> None:
    first = summary(whole)
    assert first["cache_misses"] > 0 and first["cache_hits"] > 0
    assert first["cache_entries"] == len(cache.load(whole / "costs.npz"))
    folder = run(place, "cached", "--deterministic", "--cache", str(whole / "costs.npz"))
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
    again = sweeper("run", str(place / "small.yaml"), "--out", str(whole), check=2)
    assert f"python -m sweeper resume {whole}" in again.stderr and len(again.stderr.splitlines()) == 1
    other = sweeper("run", "quick", "--out", str(whole), check=2)
    assert "another space" in other.stderr and len(other.stderr.splitlines()) == 1


def test_resuming_a_complete_study_evaluates_nothing(whole: Path) -> None:
    kept = {name: (whole / name).read_bytes() for name in ("trials.jsonl", "pareto.csv", "summary.json")}
    assert f"{TRIALS} trials" in sweeper("resume", str(whole)).stdout
    assert {name: (whole / name).read_bytes() for name in kept} == kept


def test_a_changed_space_cannot_be_resumed(place: Path, whole: Path) -> None:
    file = whole / "space.yaml"
    text = file.read_text()
    file.write_text(text.replace("ttft_p99 <= 20 s", "ttft_p99 <= 30 s"))
    try:
        refused = sweeper("resume", str(whole), check=2)
    finally:
        file.write_text(text)
    assert "is not the space that this study began with" in refused.stderr


def test_report_and_best_read_the_study(whole: Path) -> None:
    before = (whole / "pareto.csv").read_bytes()
    sweeper("report", str(whole))
    assert (whole / "pareto.csv").read_bytes() == before
    assert "minimize tpot_p95" in sweeper("best", str(whole)).stdout


@pytest.mark.parametrize(("arguments", "message"), [
    (("run", "no_such_space"), "no such search space"),
    (("run", "quick", "--trials", "0"), "--trials: must be at least 1"),
    (("run", "quick", "--timeout", "soon"), "--timeout"),
    (("run", "quick", "--cache", "absent.npz"), "no such cost cache"),
    (("run", "quick", "--tracking-uri", "./mlruns"), "file store"),
    (("run", "quick", "--set", "nonsense"), "--set expects KEY=VALUE"),
    (("resume", "nowhere"), "no study here"),
    (("report", "nowhere"), "nowhere"),
    (("best", "nowhere"), "nowhere"),
    (("ui", "nowhere"), "no study here"),
])
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    refused = sweeper(*arguments, check=2)
    assert message in refused.stderr
    assert refused.stderr.startswith("error: ") and len(refused.stderr.splitlines()) == 1


def test_help_does_not_wait_for_heavy_imports() -> None:
    loaded = subprocess.run([sys.executable, "-c", "import sys, sweeper.__main__ as m\ntry: m.main(['run', '--help'])\n"
                             "except SystemExit: print([n for n in ('ray', 'mlflow', 'optuna', 'numpy') if n in sys.modules])"],
                            cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ})
    assert loaded.stdout.splitlines()[-1] == "[]"
