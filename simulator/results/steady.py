"""The span that rates are taken over: the arrivals, and what piles up while they last; not the drain after them."""

from __future__ import annotations

LIFETIMES = 3.0  # arrivals over a shorter time than so many mean lifetimes of a request never reach a steady state
PASSING = 0.1  # waits of less than this share of the time in batches are no queue that piles up


def offered_span_s(requests: int, arrivals_s: float) -> float:
    """Seconds in which so many requests come at the rate at which they came; arrivals_s: first to last arrival."""
    return arrivals_s * requests / (requests - 1) if requests > 1 else 0.0


def piled_s(queueing_mean_s: float, e2e_mean_s: float) -> float:
    """How much longer serving takes than arriving. A queue that grows evenly makes the last request wait twice the mean."""
    return 2 * max(queueing_mean_s - PASSING * (e2e_mean_s - queueing_mean_s), 0.0)


def steady_span_s(requests: int, arrivals_s: float, makespan_s: float, queueing_mean_s: float, e2e_mean_s: float) -> float:
    """Seconds over which the run served its requests at the rate that it would keep up.

    Where the engine keeps up, requests are served as fast as they come: the span is that of the arrivals. Where it does not, it
    is longer by what piles up. No longer than the makespan, first arrival to last finish, and that for arrivals too short to
    settle.
    """
    served_s = offered_span_s(requests, arrivals_s) + piled_s(queueing_mean_s, e2e_mean_s)
    return min(makespan_s, max(served_s, LIFETIMES * e2e_mean_s))
