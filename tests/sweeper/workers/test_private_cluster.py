"""A local cluster: loopback only, a token, a folder of its own, and nothing left whatever ends its driver."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeper.workers import guardian

pytestmark = pytest.mark.ray

DRIVER = """
import os, sys, time
from sweeper.workers.cluster import connected

with connected(1, None, if_lost="it was lost"):
    import ray

    @ray.remote
    class Actor:
        def mode(self): return os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"])

    actor = Actor.remote()
    print(*ray.get(actor.mode.remote()), ray._private.worker._global_node.get_session_dir_path(), flush=True)
    if sys.argv[1:]:
        time.sleep(100)
assert "RAY_AUTH_TOKEN" not in os.environ
"""


def started(*words: str) -> tuple[subprocess.Popen[str], list[str]]:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    line = driver.stdout.readline().split()
    assert line, driver.communicate()
    return driver, line


def listening(pids: list[int]) -> list[str]:
    """Addresses that TCP sockets of these processes listen on, as /proc has them."""
    links = [str(fd.readlink()) for pid in pids for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:")}
    rows = [line.split() for name in ("tcp", "tcp6") if Path(f"/proc/net/{name}").exists()
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_everything_listens_on_loopback_with_a_token_in_a_private_folder():
    driver, (mode, length, session) = started("wait")
    try:
        family = [driver.pid, *(int(one.split()[0]) for one in guardian.descendants(driver.pid))]
        addresses = listening(family)
        assert len(addresses) >= 4  # the cluster's head, the raylet, driver and worker
        assert set(addresses) <= LOOPBACK, addresses
        assert (mode, length) == ("token", "64")
        folder = Path(session).parent.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        driver.kill()
        driver.communicate()
    assert not folder.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGQUIT, signal.SIGHUP, "raylet"])
def test_nothing_is_left_whatever_ends_the_driver(how):
    driver, (_, _, session) = started("wait")
    family = guardian.descendants(driver.pid)
    assert len(family) > 4
    if how == "raylet":
        raylets = [one for one in family if "raylet" in Path(f"/proc/{one.split()[0]}/comm").read_text()]
        os.kill(int(raylets[0].split()[0]), signal.SIGKILL)
    else:
        driver.send_signal(how)
    said = driver.communicate(timeout=30)[1]
    end_s = time.monotonic() + 5
    while time.monotonic() < end_s and any(guardian.identity(int(one.split()[0])) == one for one in family):
        time.sleep(0.1)
    assert [one for one in family if guardian.identity(int(one.split()[0])) == one] == []
    assert not Path(session).parent.parent.exists()
    assert "error: it was lost" in said


def test_an_orderly_end_says_nothing():
    driver, (_, _, session) = started()
    assert "error" not in driver.communicate(timeout=30)[1]
    assert driver.returncode == 0
    assert not Path(session).parent.parent.exists()
