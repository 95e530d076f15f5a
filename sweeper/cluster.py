"""Starting and stopping Ray, quietly: a private local cluster unless the user names one."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from simulator.inputs.errors import InputError

OBJECT_STORE_BYTES = 256 * 1024 * 1024  # snapshots and traces are tens of MB; more would count against the 2 GB goal

# Settings of a local cluster that its processes read from the environment.
_LOCAL_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "NUMBA_NUM_THREADS": "1",  # one actor is one core
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@contextmanager
def connected(workers: int, address: str | None) -> Iterator[None]:
    """Ray is up inside: a local cluster of `workers` CPUs, or the one at `address`.

    Raises InputError with a hint where a cluster cannot be joined (versions and tokens are the usual reasons).
    """
    for name, value in _LOCAL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is None:
            ray.init(address="local", num_cpus=workers, include_dashboard=False, dashboard_host="127.0.0.1",
                     object_store_memory=OBJECT_STORE_BYTES, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(_join_hint(address, error)) from error
    _mute_crash_reports()
    for number, handler in handlers.items():  # ray.init installs its own; the study's must win
        signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _mute_crash_reports() -> None:
    """Ray prints a page per dead worker to stdout, log_to_driver=False or not; the failed trial says it in a line."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_args, **_kwargs: None


def _join_hint(address: str | None, error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    if address is None:
        return f"Ray did not start on this machine: {text}"
    hint = "is `ray start --head` running there?"
    if "token" in text.lower() or "auth" in text.lower():
        hint = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the cluster's token on this machine too"
    elif "version" in text.lower():
        hint = "install the same Ray and Python versions on both sides"
    return f"cannot join the Ray cluster at '{address}': {text}; {hint}"
