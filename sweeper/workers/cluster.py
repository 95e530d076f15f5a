"""Starting and stopping Ray, quietly: a private local cluster unless the user names one."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TextIO

from simulator.inputs.errors import InputError

PROBE_SECONDS = 5.0  # for a node of a cluster to take a connection
OBJECT_STORE_BYTES = 256 * 1024 * 1024  # snapshots and traces are tens of MB; more would count against the 2 GB goal

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
def connected(workers: int, address: str | None) -> Iterator[None]:
    """Ray is up inside: a local cluster of `workers` CPUs, or the one at `address`.

    Raises InputError with a hint where a cluster cannot be joined (versions and tokens are the usual reasons).
    """
    for name, value in _LOCAL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    check_address(address)
    import ray

    said = _Said()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is None:
            ray.init(address="local", num_cpus=workers, include_dashboard=False, dashboard_host="127.0.0.1",
                     object_store_memory=OBJECT_STORE_BYTES, **quiet)
        else:
            with _held_back(said):
                ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises bare Exceptions, too: of a start that timed out, on a full disk
        raise InputError(_join_hint(address, f"{error} {said.text}")) from error
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
