"""The numbers of a running sweep, gathered for the person who watches, and how they are said in a line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ShownStatus:
    """Numbers of a running sweep."""

    done: int
    total: int
    feasible: int
    infeasible: int
    failed: int
    front: int
    hypervolume: float
    hit_rate: float  # of the operator-cost cache
    saved_s: float
    pruned: int = 0  # given up before the full simulation (sweeper.run.ladder)
    workers: int = 0
    title: str = ""  # the space and how it is searched
    best: tuple[str, ...] = ()  # 'tpot_p95 12.3 ms', by objective


def describe(status: ShownStatus, rate: float, *, elapsed_s: float) -> str:
    """One line: '120/200 trials, 80 feasible (2 failed), front 14, hypervolume 1.2e+03, 43 trials/s, ...'."""
    failed = f", {status.failed} failed" if status.failed else ""
    left = status.total - status.done
    eta = f"ETA {clock(left / rate)}" if rate > 0 and left > 0 else f"{clock(elapsed_s)} elapsed"
    return (f"{status.done}/{status.total} trials, {status.feasible} feasible{failed}, front {status.front}, "
            f"hypervolume {status.hypervolume:.4g}, {rate:.1f} trials/s, cache {status.hit_rate:.0%} hits "
            f"({status.saved_s:.1f} s saved), {eta}")


def clock(seconds: float) -> str:
    """'7 s', '3 min 20 s', '2 h 5 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
