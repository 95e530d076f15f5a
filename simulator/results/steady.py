"""The span that rates are taken over: the arrivals, and what piles up while they last; not the drain after them."""

from __future__ import annotations

LIFETIMES = 3.0  # arrivals over a shorter time than so many mean lifetimes of a request never reach a steady state


def steady_span_s(requests: int, arrivals_s: float, makespan_s: float, queueing_mean_s: float, e2e_mean_s: float) -> float:
    """Seconds over which the run served its requests at the rate that it would keep up.

    arrivals_s: first to last arrival. Where the engine keeps up, requests are served as fast as they come: the span is that of
    the arrivals. Where it does not, the queue grows evenly, the last request waits twice the mean, and serving all takes so much
    longer. No longer than the makespan, first arrival to last finish, and that for arrivals too short to settle.
    """
    if requests < 2:
        return makespan_s
    offered_s = arrivals_s * requests / (requests - 1)
    return min(makespan_s, max(offered_s + 2 * queueing_mean_s, LIFETIMES * e2e_mean_s))
