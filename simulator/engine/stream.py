"""One continuous run over a trace that comes in pieces: memory for requests under way, not for all.

The kernel serves until its next decision may depend on requests that it has not been given. Those that are through are handed out
and forgotten. Decisions and times are those of `engine.run`, bit for bit, however the trace is cut.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simulator.engine.engine import requests_of
from simulator.engine.kernel.records import NEVER
from simulator.engine.replica import Replica, is_dense
from simulator.engine.result import EngineResult
from simulator.pricing.step import StepCosts
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_cache import hash_unit
from simulator.workload.block_identities import BlockIdentities
from simulator.workload.trace import Int32, Int64, Trace


class Served(NamedTuple):
    """Requests that are through, shapes [n]; times in ns, see EngineResult. `request`: position in the trace."""

    request: Int64
    arrival_ns: Int64
    prompt: Int32
    output: Int32  # tokens that it got
    first_scheduled_ns: Int64
    first_token_ns: Int64
    finish_ns: Int64
    preemptions: Int32
    cached_tokens: Int32


class Stream:
    """A run under way. Prompts have no known content: with prefix caching only a resumed request can hit a block.

    gaps: count the gaps between tokens. Raises what `engine.run` raises.
    """

    def __init__(self, config: SchedulerConfig, costs: StepCosts, *, gaps: bool = False) -> None:
        self._config, self._given = config, 0
        self._most_blocks = config.max_model_len // hash_unit(config) + 1
        kept = config.enable_prefix_caching and (config.policy == "priority" or is_dense(config))
        nodes = self._most_blocks if kept else 0
        self._replica = Replica(config, costs, gaps=gaps, nodes=nodes)
        self._at = np.zeros(0, np.int64)  # positions in the trace of the replica's requests

    def feed(self, trace: Trace, *, more: bool) -> Served:
        """Goes on with the next requests of the trace; to the end unless there are `more` to come. Returns those that are
        through now; rejected ones never are."""
        identities = None
        if self._config.enable_prefix_caching:
            first_blocks = (self._given + np.arange(len(trace))) * self._most_blocks
            identities = BlockIdentities(np.zeros(len(trace) + 1, np.int64), np.zeros(0, np.int64), first_blocks)
        requests, kept = requests_of(trace, self._config, identities)
        replica = self._replica
        places = self._given + (np.arange(len(trace)) if kept is None else kept)
        replica.extend(requests, places)
        self._at = np.concatenate([self._at, places])
        self._given += len(trace)
        arrival_ns = replica.requests.arrival_ns
        replica.advance((int(arrival_ns[-1]) if len(arrival_ns) else 0) if more else NEVER)
        return self._through(replica.under_way() if more else np.zeros(0, np.int64))

    def result(self) -> EngineResult:
        """Totals of the run; arrays with a value per request are empty."""
        return self._replica.result()

    def _through(self, kept: Int64) -> Served:
        """Hands out all requests but those `kept`."""
        replica, through = self._replica, np.ones(len(self._at), np.bool_)
        through[kept] = False
        columns: Any = (self._at, *replica.requests[:3], *replica.served[:5])
        served = Served(*(column[through] for column in columns))
        replica.keep(kept)
        self._at = self._at[kept]
        return served
