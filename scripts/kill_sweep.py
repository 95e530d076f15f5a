"""Kills a sweep's driver (SIGKILL) again and again at random points, resumes it, and compares with a sweep left alone.

    python scripts/kill_sweep.py [SPACE] [--sampler gp] [--trials 420] [--kills 20] [--storage sqlite|journal]

The real command with real Ray and MLflow, in `--deterministic` mode. Three of four kills come at a random number of
finished trials, the others at a random moment of the start. After each, every finished line must still be there. At the
end no number is missing or doubled, all trials are those of the uninterrupted run, `pareto.csv` is the same to the byte,
and with --storage the Optuna storage has every trial once. Exit code 1 where one of these is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 600.0
START_S = 8.0  # of imports and Ray, in which the kills of the start fall


def command(*words: object) -> list[str]:
    """A quiet sweeper command."""
    return [sys.executable, "-m", "sweeper", *map(str, words), "--quiet"]


def lines(folder: Path) -> list[bytes]:
    """The whole lines of a study's ledger."""
    book = folder / "trials.jsonl"
    return [line for line in book.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")] if book.exists() else []


def results(folder: Path) -> dict[int, Any]:
    """What each trial found, by number. Raises SystemExit where a number is there twice."""
    trials = [json.loads(line) for line in lines(folder)[1:]]
    found = {t["number"]: [t[k] for k in ("parameters", "status", "objectives", "constraints", "metrics")] for t in trials}
    if len(found) < len(trials):
        sys.exit("A TRIAL WAS MADE TWICE")
    return found


def killed(words: list[str], folder: Path, *, after_s: float, at_line: int) -> None:
    """Starts a driver and kills it after a time or at a number of lines, whatever it is asked for."""
    driver = subprocess.Popen(words, cwd=ROOT)
    start_s = time.monotonic()
    while driver.poll() is None and time.monotonic() - start_s < LIMIT_S:
        if time.monotonic() - start_s > after_s or 0 < at_line <= len(lines(folder)):
            break
        time.sleep(0.002)
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def stored(url: str) -> list[int]:
    """Numbers of the trials in the Optuna storage."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = url if "://" in url else optuna.storages.JournalStorage(JournalFileBackend(url))
    [name] = optuna.get_all_study_names(storage=storage)
    return sorted(t.user_attrs["trial"] for t in optuna.load_study(study_name=name, storage=storage).trials)


def main() -> int:
    """Runs both sweeps; 0 where they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", nargs="?", default="search_spaces/npu_pim.yaml")
    parser.add_argument("--sampler", default="gp")
    parser.add_argument("--trials", type=int, default=420)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--storage", choices=("sqlite", "journal"))
    args = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    place = Path(tempfile.mkdtemp(prefix="kills."))
    whole, broken = place / "whole", place / "killed"
    run = ("run", args.space, "--sampler", args.sampler, "--trials", args.trials, "--deterministic", "--workers", 2, "--out")
    subprocess.run(command(*run, whole), cwd=ROOT, check=True)
    url = {"sqlite": f"sqlite:///{place}/optuna.db", "journal": str(place / "optuna.log")}.get(args.storage, "")
    drawn = random.Random(args.seed)
    kept: list[bytes] = []
    starts = 0
    for kill in range(args.kills):
        early = kill % 4 == 3
        starts += early
        words = command("resume", broken) if kept else command(*run, broken, *(("--storage", url) if url else ()))
        killed(words, broken, after_s=START_S * drawn.random() if early else LIMIT_S,
               at_line=0 if early else 1 + round(args.trials * (kill + drawn.random()) / (args.kills + 1)))
        found = lines(broken)
        if found[: len(kept)] != kept:
            sys.exit(f"A FINISHED TRIAL IS GONE after kill {kill + 1}")
        kept = found
        print(f"kill {kill + 1:2}: {max(0, len(kept) - 1)} trials{', during the start' if early else ''}", flush=True)
    subprocess.run(command("resume", broken), cwd=ROOT, check=True)
    checks = {
        "no finished trial lost": lines(broken)[: len(kept)] == kept,
        "none missing, none doubled": sorted(results(broken)) == sorted(results(whole)),
        "same trials as uninterrupted": results(broken) == results(whole),
        "pareto.csv the same to the byte": (broken / "pareto.csv").read_bytes() == (whole / "pareto.csv").read_bytes(),
    }
    if url:
        checks[f"{args.storage} storage has every trial once"] = stored(url) == sorted(results(broken))
    print(f"{args.sampler}: {args.kills} kills ({starts} during the start), {len(results(broken))} trials, in {place}")
    for what, holds in checks.items():
        print(f"  {'yes' if holds else 'NO '}  {what}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
