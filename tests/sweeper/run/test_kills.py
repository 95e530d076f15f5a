"""The driver is killed (SIGKILL) again and again: no finished trial is lost, none is made twice, the front is the same.

Twenty kills in all need a driver that starts quickly, so the real Sweep runs here over a pool without Ray and without MLflow;
test_end_to_end.py kills the whole stack once.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.sweeper import fast_driver

KILLS = 10  # of each sampler
TRIALS = {"gp": 150, "exhaustive": 1200}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def driver(folder: Path, sampler: str, pause_s: float) -> BaseProcess:
    """A driver in a process of its own, forked from a server that has imported everything once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([fast_driver.__name__])
    process = context.Process(target=fast_driver.main, args=(folder, sampler, TRIALS[sampler], pause_s))
    process.start()
    return process


def ends(process: BaseProcess) -> bool:
    process.join(120)
    return process.exitcode == 0


def lines(folder: Path) -> list[bytes]:
    book = folder / "trials.jsonl"
    return [line for line in book.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if book.exists() else []


def results(folder: Path) -> dict[int, object]:
    found = [json.loads(line) for line in lines(folder)[1:]]
    assert len({t["number"] for t in found}) == len(found), "a trial was made twice"
    return {t["number"]: (t["parameters"], t["status"], t["objectives"]) for t in found}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "exhaustive"])
def test_kills_lose_nothing_double_nothing_and_change_nothing(tmp_path: Path, sampler: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ends(driver(whole, sampler, 0.0))
    step = TRIALS[sampler] / (KILLS + 1)
    drawn = random.Random(5)
    kept: list[bytes] = []
    for kill in range(KILLS):
        process = driver(killed, sampler, 0.4 / step)
        deadline = time.monotonic() + 60
        while len(lines(killed)) < (kill + drawn.random()) * step and time.monotonic() < deadline:
            assert process.is_alive()
            time.sleep(0.002)
        process.kill()
        process.join()
        found = lines(killed)
        assert found[: len(kept)] == kept, "a finished trial is gone"
        kept = found
    assert ends(driver(killed, sampler, 0.0))
    assert lines(killed)[: len(kept)] == kept
    assert results(killed) == results(whole)
    assert (killed / "pareto.csv").read_bytes() == (whole / "pareto.csv").read_bytes()
