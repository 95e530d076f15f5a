"""The requests that a streamed run knows at a time: who is still under way, and what the state of the engine calls them.

Requests are numbered by their place in the window. Renumbering keeps their order, which is all that the scheduler's
decisions read from a number.
"""

from __future__ import annotations

import numpy as np

from simulator.engine import fast_plain_state, fast_queues
from simulator.engine.fast_plain_state import FREE_SLOTS, REQUEST, STACK, WHO, Plain
from simulator.engine.fast_queues import FLYING, OLDEST, RUNNING, WAITING, Queues
from simulator.workload.trace import Int64

BY_REQUEST = ("computed", "delivered", "pending", "in_flight", "slot", "swapped", "channel")  # of Queues


def under_way(state: Plain | Queues, requests: int) -> Int64:
    """Numbers, ascending, of the window's requests that the scheduler still refers to: those that are queued, running or
    part of a batch in flight. The rest of the `requests` are through."""
    if isinstance(state, Plain):
        named = [state.slots[_used_slots(state), REQUEST], state.stack[: state.state[STACK], WHO]]
        head = int(state.state[fast_plain_state.HEAD])
    else:
        named = [state.running[: state.state[RUNNING]], state.waiting[: state.state[WAITING]]]
        named += [state.batch_request[b, : state.batch_size[b]] for b in _flying(state)]
        head = int(state.state[fast_queues.HEAD])
    return np.unique(np.concatenate([*named, np.arange(head, requests)]).astype(np.int64))


def renumber(state: Plain | Queues, kept: Int64) -> Plain | Queues:
    """The state after the window has shrunk to the requests `kept`, all of which have arrived."""
    if isinstance(state, Plain):
        used, stack = _used_slots(state), state.stack[: state.state[STACK]]
        state.slots[used, REQUEST] = np.searchsorted(kept, state.slots[used, REQUEST])
        stack[:, WHO] = np.searchsorted(kept, stack[:, WHO])
        head, joined = fast_plain_state.HEAD, fast_plain_state.JOINED
    else:
        named = [state.running[: state.state[RUNNING]], state.waiting[: state.state[WAITING]]]
        named += [state.batch_request[b, : state.batch_size[b]] for b in _flying(state)]
        for numbers in named:
            numbers[:] = np.searchsorted(kept, numbers)
        columns = {name: getattr(state, name) for name in BY_REQUEST}
        state = state._replace(**{name: column[kept] for name, column in columns.items() if len(column)})
        head, joined = fast_queues.HEAD, fast_queues.JOINED
    state.state[head], state.state[joined] = np.searchsorted(kept, state.state[head]), len(kept)
    return state


def extended(state: Queues, longer: Queues) -> Queues:
    """`state`, with the room for requests that `longer`, a state before the first arrival, has."""
    for name in (*BY_REQUEST, "waiting"):
        column = getattr(state, name)
        getattr(longer, name)[: len(column)] = column[: len(getattr(longer, name))]
    return state._replace(**{name: getattr(longer, name) for name in (*BY_REQUEST, "waiting")})


def _used_slots(state: Plain) -> Int64:
    anchor = len(state.slots) - 1
    return np.setdiff1d(np.arange(anchor), state.free_slots[: state.state[FREE_SLOTS]])


def _flying(state: Queues) -> list[int]:
    """Ring places of the batches in flight."""
    return [(int(state.state[OLDEST]) + k) % len(state.batch_size) for k in range(int(state.state[FLYING]))]
