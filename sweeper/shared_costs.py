"""The driver's side of the shared operator-cost cache: immutable snapshots in Ray's object store.

Workers return what they computed; the driver gathers it and now and then puts it as a new snapshot, which workers map
without copying. Snapshots of like size are merged (as in a log-structured merge tree), so that there are few of them
and an entry is copied a logarithmic number of times. The driver owns the objects: no worker's death takes one away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from simulator.costs.cache import CacheCounters, Snapshot, merge

PUBLISH_RESULTS = 16
PUBLISH_SECONDS = 0.5
MAX_BYTES = 64 * 1024 * 1024  # beyond this nothing is added: two copies must fit the object store while they merge


class SharedCosts:
    """`put` places a snapshot in the object store and returns its reference."""

    def __init__(self, snapshot: Snapshot, put: Callable[[Snapshot], Any]) -> None:
        self._put = put
        self._parts: list[tuple[Snapshot, Any]] = [(snapshot, put(snapshot))] if len(snapshot) else []
        self._new: list[Snapshot] = []
        self._results = 0
        self._published_s = time.monotonic()
        self.counters = CacheCounters()
        self.version = 0

    @property
    def references(self) -> list[Any]:
        """Of the snapshots that workers should look in; they change when `version` does."""
        return [reference for _, reference in self._parts]

    @property
    def nbytes(self) -> int:
        return sum(snapshot.nbytes for snapshot, _ in self._parts)

    def add(self, new_costs: Snapshot, counters: CacheCounters, results: int) -> None:
        """Takes in what a call of `results` trials brought back."""
        self._results += results
        self.counters.add(counters)
        if len(new_costs) and self.nbytes < MAX_BYTES:
            self._new.append(new_costs)

    def publish_if_due(self) -> None:
        """Publishes what is new when 16 results or half a second have passed."""
        waited_s = time.monotonic() - self._published_s
        if self._new and (self._results >= PUBLISH_RESULTS or waited_s >= PUBLISH_SECONDS):
            fresh, self._new = merge(self._new), []
            while self._parts and self._parts[-1][0].nbytes < 2 * fresh.nbytes:
                fresh = merge([self._parts.pop()[0], fresh])
            self._parts.append((fresh, self._put(fresh)))
            self.version += 1
            self._results, self._published_s = 0, time.monotonic()

    def snapshot(self) -> Snapshot:
        """Everything known so far, merged."""
        return merge([*(snapshot for snapshot, _ in self._parts), *self._new])
