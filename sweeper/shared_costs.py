"""The driver's side of the shared operator-cost cache: one immutable snapshot in Ray's object store.

Workers return what they computed; the driver merges it and now and then puts a new snapshot, which workers map without
copying. The driver owns the object, so that no worker's death takes it away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from simulator.costs.cache import CacheCounters, Snapshot, merge

PUBLISH_RESULTS = 16
PUBLISH_SECONDS = 0.5


class SharedCosts:
    """`put` places a snapshot in the object store and returns its reference."""

    def __init__(self, snapshot: Snapshot, put: Callable[[Snapshot], Any]) -> None:
        self._put = put
        self._snapshot = snapshot
        self._new: list[Snapshot] = []
        self._results = 0
        self._published_s = time.monotonic()
        self.counters = CacheCounters()
        self.version = 0
        self.reference = put(snapshot)

    def add(self, new_costs: Snapshot, counters: CacheCounters, results: int) -> None:
        """Takes in what a call of `results` trials brought back."""
        self._results += results
        self.counters.add(counters)
        if len(new_costs):
            self._new.append(new_costs)

    def publish_if_due(self) -> None:
        """Puts a new snapshot when there is something new and 16 results or half a second have passed."""
        waited_s = time.monotonic() - self._published_s
        if self._new and (self._results >= PUBLISH_RESULTS or waited_s >= PUBLISH_SECONDS):
            self.reference = self._put(self.snapshot())
            self.version += 1
            self._results, self._published_s = 0, time.monotonic()

    def snapshot(self) -> Snapshot:
        """Everything known so far, merged."""
        if self._new:
            self._snapshot = merge([self._snapshot, *self._new])
            self._new = []
        return self._snapshot
