"""Starting and stopping Ray, quietly: a private local cluster unless the user names one."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, TextIO

from simulator.inputs.errors import InputError
from sweeper.workers import guardian

PROBE_SECONDS = 5.0  # for a node of a cluster to take a connection
OBJECT_STORE_BYTES = 256 * 1024 * 1024  # snapshots and traces are tens of MB; more would count against the 2 GB goal

LOOK_SECONDS = 1.0  # between two looks at the raylet
START_ATTEMPTS = 3  # of a local cluster
LONGEST_ROOT = 40  # characters of the temporary folder: a socket's path may have 107, and Ray's own part takes 60
_NO_CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0, the default there: a node's address is 127.0.0.1, and it listens on no other
_QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}

# Settings of a local cluster that its processes read from the environment.
_LOCAL_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "NUMBA_NUM_THREADS": "1",  # one actor is one core
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def check_address(address: str | None) -> None:
    """Whether anything answers at `HOST:PORT` (with or without `ray://`); other forms, as `auto`, are for Ray to judge.

    Raises InputError. Ray itself tries an address where no cluster is any more for minutes, and says nothing.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:  # OverflowError: a port above 65535
        raise InputError(_join_hint(address, f"nothing answers there ({error})"), key="--address") from error


@contextmanager
def connected(workers: int, address: str | None, *, if_lost: str = "") -> Iterator[None]:
    """Ray is up inside: a local cluster of `workers` CPUs, or the one at `address`.

    A local cluster listens on loopback alone, wants a token that only this process and its children have, and keeps its files in
    a folder of the user's own; a guardian ends its processes whatever ends this one, and then says `if_lost` on stderr.
    Raises InputError with a hint where a cluster cannot be joined (versions and tokens are the usual reasons).
    """
    for name, value in _LOCAL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    check_address(address)
    if address is None:
        with _private_cluster(workers, if_lost):
            yield
        return
    import ray

    said = _Said()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with _held_back(said):
            ray.init(address=address, **_QUIET)
    except Exception as error:  # Ray raises bare Exceptions, too: of a start that timed out, on a full disk
        raise InputError(_join_hint(address, f"{error} {said.text}")) from error
    with _running(handlers):
        yield


@contextmanager
def _private_cluster(workers: int, if_lost: str) -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with _guarded_folder(if_lost) as (folder, watch), _loopback():
        import ray

        before = set(guardian.descendants(os.getpid()))
        for attempt in range(START_ATTEMPTS):
            try:
                ray.init(address="local", num_cpus=workers, include_dashboard=False, dashboard_host="127.0.0.1",
                         object_store_memory=OBJECT_STORE_BYTES, _temp_dir=folder, **_QUIET)
                break
            except Exception as error:  # a machine under load: its processes did not answer in time
                ray.shutdown()
                for one in set(guardian.descendants(os.getpid())) - before:
                    with contextlib.suppress(OSError):
                        os.kill(int(one.split()[0]), signal.SIGKILL)
                if attempt + 1 == START_ATTEMPTS:
                    raise InputError(_join_hint(None, str(error))) from error
        watch()
        with _running(handlers), _ended_with_its_raylet():
            yield


@contextmanager
def _ended_with_its_raylet() -> Iterator[None]:
    """Without its raylet a driver waits for ever, or Ray ends it minutes later: it ends at once, and the guardian says so."""
    raylets = [one for one in guardian.descendants(os.getpid()) if guardian.name(one) == "raylet"]
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            if any(guardian.identity(int(one.split()[0])) != one for one in raylets):
                os.execv("/bin/sh", ["sh", "-c", "exit 1"])  # at once, from this thread

    threading.Thread(target=look, daemon=True, name="raylet").start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def _loopback() -> Iterator[None]:
    """What makes the processes of a local cluster listen on 127.0.0.1 alone, and ask for this process's token.

    Ray reads both when it is imported: a program that imported it before has Ray's own defaults.
    """
    if "ray" in sys.modules and _token.cache_info().currsize == 0:
        yield
        return
    found = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", _NO_CLUSTER)}
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token(), _NO_CLUSTER: "0"})
    try:
        yield
    finally:
        for name, value in found.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@functools.cache
def _token() -> str:
    """One for the life of this process: Ray reads a token once."""
    return secrets.token_hex(32)


@contextmanager
def _guarded_folder(if_lost: str) -> Iterator[tuple[str | None, Callable[[], None]]]:
    """A folder for the cluster's files, for this user alone, and what tells the guardian of the processes there are by then."""
    root = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="sweep-", dir=root if len(root) <= LONGEST_ROOT else None)
    guard = subprocess.Popen([sys.executable, "-I", "-S", guardian.__file__, folder, if_lost], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, text=True, start_new_session=True)

    def tell(lines: list[str]) -> None:
        assert guard.stdin is not None
        with contextlib.suppress(OSError):
            guard.stdin.write("".join(lines))
            guard.stdin.flush()

    def watch() -> None:
        tell([f"{one}\n" for one in guardian.descendants(os.getpid()) if one.split()[0] != str(guard.pid)])

    try:
        yield (f"{folder}/r" if len(folder) <= LONGEST_ROOT else None), watch  # Ray opens its own folder to everybody
    finally:
        tell([guardian.FAREWELL])
        assert guard.stdin is not None
        with contextlib.suppress(OSError):
            guard.stdin.close()
        guard.wait()


@contextmanager
def _running(handlers: Mapping[Any, Any]) -> Iterator[None]:
    """Ray has just started; it is shut down at the end."""
    import ray

    for number, handler in handlers.items():  # ray.init installs its own; the study's must win
        signal.signal(number, handler)
    # Ray prints a page per dead worker to stdout, log_to_driver=False or not, from a thread while it runs and what is left
    # when it ends; the failed trial says it in a line.
    with redirect_stdout(_OneThread(sys.stdout)):
        try:
            yield
        finally:
            with redirect_stdout(io.StringIO()):
                ray.shutdown()


class _OneThread(io.TextIOBase):
    """A text stream that writes what one thread does, and drops the rest."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return self._stream.write(text) if threading.get_ident() == self._thread else len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@dataclass
class _Said:
    """What native code wrote to stderr."""

    text: str = ""


@contextmanager
def _held_back(said: _Said) -> Iterator[None]:
    """Keeps stderr, also of native code, to itself: Ray repeats a refused token line by line for twenty seconds, and
    says nothing of it in its exception."""
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            file.seek(0)
            said.text = file.read().decode(errors="replace")


def _join_hint(address: str | None, error: str) -> str:
    text = " ".join(error.split())[:300]
    if address is None:
        return f"Ray did not start on this machine: {text}"
    hint = "is `ray start --head` running there?"
    if "InvalidAuthToken" in error:
        return (f"cannot join the Ray cluster at '{address}': it refuses this machine's token; set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN_PATH to a copy of the cluster's token file")
    if "RAY_AUTH_TOKEN" in error:
        hint = "set RAY_AUTH_TOKEN_PATH to a copy of the cluster's token file"
    elif "version mismatch" in text.lower():
        hint = "install the same Ray and Python versions on both sides"
    return f"cannot join the Ray cluster at '{address}': {text}; {hint}"
