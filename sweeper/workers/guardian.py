"""A small process that outlives its driver by a second: it ends what Ray leaves behind, whatever ended the driver.

Ray's agents look for their raylet once a minute, and a driver whose raylet dies is ended by Ray without a word. The guardian
reads the pipe whose other end only the driver has. Where that closes without a farewell, it kills the processes it was told of,
removes the cluster's folder and says how to go on. It runs this file alone, without the project's or any other package.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

FAREWELL = "done\n"
PATIENCE_S = 1.0  # for processes to end by themselves


def identity(pid: int) -> str:
    """A process's number and start time, which together are never used again; '' where there is none (or no /proc)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{pid} {fields[19]}" if fields[0] not in "ZX" else ""  # a zombie has ended


def name(one: str) -> str:
    """The program's name of a process, given its identity; '' where it is gone."""
    try:
        return Path(f"/proc/{one.split()[0]}/comm").read_text().strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[str]:
    """Identities of all children of a process and theirs."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    return [found for child in _below(pid, parents) if (found := identity(child))]


def _below(pid: int, parents: dict[int, list[int]]) -> Iterator[int]:
    for child in parents.get(pid, []):
        yield child
        yield from _below(child, parents)


def main(folder: str, words: str) -> None:
    """Waits for the end of the driver, whose pipe is stdin: one identity a line, or FAREWELL."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # those of the terminal are for the driver
    watched: list[str] = []
    farewell = False
    for line in sys.stdin:
        farewell = line == FAREWELL
        watched += [] if farewell else [line.strip()]
    for wait_s in (PATIENCE_S if farewell else 0.2, 0.0):
        _sleep(watched, wait_s)
        for one in watched:
            if identity(int(one.split()[0])) == one:
                os.kill(int(one.split()[0]), signal.SIGKILL)
    _sleep(watched, PATIENCE_S)
    shutil.rmtree(folder, ignore_errors=True)
    if not farewell and words:
        print(f"error: {words}", file=sys.stderr)


def _sleep(watched: list[str], wait_s: float) -> None:
    """Until none is left, at most so long."""
    import time

    end_s = time.monotonic() + wait_s
    while time.monotonic() < end_s and any(identity(int(one.split()[0])) == one for one in watched):
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:3])
