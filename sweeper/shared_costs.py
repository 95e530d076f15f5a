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
PUBLISH_SECONDS = 2.0
WORTH = 4.0  # times what publishing costs the driver, in seconds that another worker would compute: then at once
MAX_BYTES = 64 * 1024 * 1024  # beyond this nothing is added: two copies must fit the object store while they merge


class SharedCosts:
    """`put` places a snapshot in the object store and returns its reference; None where there is no room, after which
    nothing more is shared: workers then price what they lack themselves."""

    def __init__(self, snapshot: Snapshot, put: Callable[[Snapshot], Any | None]) -> None:
        self._put = put
        reference = put(snapshot) if len(snapshot) else None
        self._full = bool(len(snapshot)) and reference is None
        self._parts: list[tuple[Snapshot, Any]] = [] if reference is None else [(snapshot, reference)]
        self._new: list[Snapshot] = [snapshot] if self._full else []
        self._results = 0
        self._worth_s = 0.0  # what computing the new entries took
        self._cost_s = 0.001  # of the last publishing
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
            self._worth_s += float(new_costs.seconds.sum())

    def publish_if_due(self) -> None:
        """Publishes what is new after 16 results if that pays, at the latest after two seconds."""
        waited_s = time.monotonic() - self._published_s
        worth = self._results >= PUBLISH_RESULTS and self._worth_s >= WORTH * self._cost_s
        if self._new and not self._full and (worth or waited_s >= PUBLISH_SECONDS):
            start_s = time.perf_counter()
            fresh, kept = merge(self._new), len(self._parts)
            while kept and self._parts[kept - 1][0].nbytes < 2 * fresh.nbytes:
                kept -= 1
                fresh = merge([self._parts[kept][0], fresh])
            reference = self._put(fresh)
            if reference is None:
                self._full = True
                return
            self._new = []
            self._parts[kept:] = [(fresh, reference)]
            self.version += 1
            self._results, self._worth_s, self._published_s = 0, 0.0, time.monotonic()
            self._cost_s = time.perf_counter() - start_s

    def snapshot(self) -> Snapshot:
        """Everything known so far, merged."""
        return merge([*(snapshot for snapshot, _ in self._parts), *self._new])
