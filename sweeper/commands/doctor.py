"""`python -m sweeper doctor` checks whether this machine is ready to sweep: one line a check, with the remedy."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
import time
import tomllib
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from sweeper.workers.cores import usable_cores

PACKAGE = "llm-serving-sweeper"
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
MIN_DISK_BYTES = 2e9  # a study of 100,000 designs with MLflow and reports is below 1 GB; Ray stops at 95 % full
MIN_SHM_BYTES = 300 * 1024 * 1024  # Ray's object store here: sweeper.workers.cluster.OBJECT_STORE_BYTES and some room

State = Literal["ok", "warn", "fail"]
_STYLE = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and the fix where it is not ok."""

    state: State
    name: str
    text: str


def doctor(_args: Namespace) -> int:
    """Prints all checks as they are made; exit code 1 where one fails."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    failed = 0
    for check in checks():
        failed += check.state == "fail"
        console.print(Text.assemble((f"{check.state:5}", _STYLE[check.state]), f"{check.name:22}", check.text), soft_wrap=True)
    console.print("ready to sweep" if not failed else f"{failed} checks failed", style="bold")
    return 1 if failed else 0


def checks() -> Iterator[Check]:
    """All checks, the quick ones first."""
    yield python()
    yield from packages()
    yield memory()
    yield disk(Path.cwd())
    yield writable(Path.cwd())
    yield shared_memory()
    yield stale_clusters()
    for name, function, doing in (("compiled engine", engine, "looking for the compiled engine (compiling takes 20-40 s)"),
                                  ("MLflow", mlflow_store, "writing to MLflow"), ("Ray", ray_cluster, "starting Ray")):
        with Console(stderr=True).status(f"{doing} ..."):
            check = guarded(name, function)
        yield check


def guarded(name: str, function: Callable[[], Check]) -> Check:
    """A check that may raise anything: then it failed, with the error as its line."""
    try:
        return function()
    except Exception as error:
        return Check("fail", name, " ".join(f"{type(error).__name__}: {error}".split())[:300])


def wants() -> tuple[str, list[str]]:
    """(Python's range, requirements): of pyproject.toml in a checkout, else of the installed package."""
    if PYPROJECT.is_file():
        project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
        return project["requires-python"], project["dependencies"]
    return importlib.metadata.metadata(PACKAGE)["Requires-Python"], importlib.metadata.requires(PACKAGE) or []


def python() -> Check:
    """The running Python against `requires-python`."""
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    wanted, _ = wants()
    good = SpecifierSet(wanted).contains(version)
    return Check("ok" if good else "fail", "Python", version if good else f"{version}, needs {wanted}")


def packages() -> Iterator[Check]:
    """Installed versions against the ranges in pyproject.toml; what fits is one line."""
    from packaging.requirements import Requirement

    fitting = []
    for text in wants()[1]:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check("fail", wanted.name, f"is not installed; pip install '{wanted.name}{wanted.specifier}'")
            continue
        if wanted.specifier.contains(version, prereleases=True):
            fitting.append(f"{wanted.name} {version}")
        else:
            yield Check("fail", wanted.name,
                        f"{version} does not fit {wanted.specifier}; pip install '{wanted.name}{wanted.specifier}'")
    yield Check("ok", "packages", ", ".join(fitting))


def memory() -> Check:
    """Cores and free memory: a sweep with two workers takes about 1 GB."""
    cores = usable_cores()
    free = _available_bytes()
    if free is None:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Check("ok", "machine", f"{cores} cores, {total / 1e9:.1f} GB of memory")
    need = 0.6e9 + 0.25e9 * cores  # driver, Ray and one process a worker, measured
    text = f"{cores} cores, {free / 1e9:.1f} GB available"
    return Check("ok", "machine", text) if free > need else Check(
        "warn", "machine", f"{text}; one worker a core needs about {need / 1e9:.1f} GB: fewer with --workers")


def _available_bytes() -> int | None:
    """Memory that is free or can be made free; None where the system does not say (macOS)."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def disk(folder: Path) -> Check:
    """Room for studies here and for Ray's session in the temporary folder."""
    rooms = {path: shutil.disk_usage(path) for path in (folder, Path(tempfile.gettempdir()))}
    text = ", ".join(f"{room.free / 1e9:.1f} GB free in {path}" for path, room in rooms.items())
    if any(room.free < MIN_DISK_BYTES or room.free < 0.05 * room.total for room in rooms.values()):
        return Check("warn", "disk", f"{text}; Ray refuses objects on a disk that is 95 % full: make room, or set TMPDIR")
    return Check("ok", "disk", text)


def writable(folder: Path) -> Check:
    """Whether a study can be written below the working directory."""
    nearest = folder / "runs" if (folder / "runs").is_dir() else folder
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return Check("ok", "write access", f"studies go to {folder / 'runs'}")
    except OSError as error:
        return Check("fail", "write access", f"{nearest}: {error.strerror}; run from another folder, or give --out DIR")


def shared_memory() -> Check:
    """/dev/shm, where Ray keeps what workers share."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        return Check("warn", "shared memory", "no /dev/shm: Ray falls back to files in the temporary folder, slower")
    free = shutil.disk_usage(shm).free
    if free < MIN_SHM_BYTES or not os.access(shm, os.W_OK):
        return Check("warn", "shared memory", f"{free / 1e6:.0f} MB free in /dev/shm, Ray wants {MIN_SHM_BYTES / 1e6:.0f}; "
                                              "in a container start it with --shm-size=1g")
    return Check("ok", "shared memory", f"{free / 1e9:.1f} GB free in /dev/shm")


def stale_clusters() -> Check:
    """Ray clusters of this user that already run: a sweep does not touch them, but they hold memory."""
    running = [name for name in map(_command, Path("/proc").glob("[0-9]*")) if "gcs_server" in name.split("/")[-1].split("\0")[0]]
    if not running:
        return Check("ok", "other Ray clusters", "none")
    return Check("warn", "other Ray clusters", f"{len(running)} running for this user, of a sweep or left behind; `ray status` "
                                               "and `ray stop` act on them, join one with --address")


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text() if process.stat().st_uid == os.getuid() else ""
    except OSError:
        return ""


def engine() -> Check:
    """Compiles the serving engine, or finds it in numba's cache, with a small simulation."""
    from numba.core.event import install_recorder

    from simulator.design.load import load_design
    from simulator.simulate import simulate

    design = load_design("npu-pim-chat", {"workload.requests": 8})
    start_s = time.monotonic()
    with install_recorder("numba:compile") as compilations:
        simulate(design)
    seconds = time.monotonic() - start_s
    if not compilations.buffer:
        return Check("ok", "compiled engine", f"found in numba's cache ({seconds:.1f} s)")
    return Check("ok", "compiled engine", f"compiled now in {seconds:.0f} s; later runs load it from numba's cache")


def mlflow_store() -> Check:
    """A run in a new SQLite store, written and read back."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
        experiment = client.create_experiment("doctor", artifact_location=f"{folder}/artifacts")
        run = client.create_run(experiment)
        client.log_metric(run.info.run_id, "ok", 1.0)
        if client.get_run(run.info.run_id).data.metrics != {"ok": 1.0}:
            return Check("fail", "MLflow", "a metric was written to a SQLite store and not found again")
    return Check("ok", "MLflow", f"{importlib.metadata.version('mlflow')} writes and reads a SQLite store")


def ray_cluster() -> Check:
    """A local cluster of one worker: started, asked for a result, stopped."""
    from sweeper.workers.cluster import connected

    start_s = time.monotonic()
    with connected(1, None):
        import ray

        if ray.get(ray.put(41)) + 1 != 42:
            return Check("fail", "Ray", "an object was put and came back another")
    return Check("ok", "Ray", f"{importlib.metadata.version('ray')} started and stopped in {time.monotonic() - start_s:.1f} s")
