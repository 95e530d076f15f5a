"""The driver's side of the shared operator-cost cache: immutable snapshots in Ray's object store.

Workers return what they computed; the driver gathers it, and puts it as a new snapshot, which workers map without
copying, as soon as that pays: prices that are computed faster than they are moved stay where they are until somebody
asks for everything. Snapshots of like size are merged (as in a log-structured merge tree), so that there are few of them
and an entry is copied a logarithmic number of times. The driver owns the objects: no worker's death takes one away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.pricing.cache import CacheCounters, Float64, Snapshot, from_entries, merge

PUBLISH_RESULTS = 16
WORTH = 4.0  # times what publishing costs the driver, in seconds that another worker would compute
# Of the driver, on a core at 2.6 GHz: an object put and handed to every worker, and a byte merged, put and mapped.
PUT_SECONDS, BYTE_SECONDS = 1e-3, 1e-9
MAX_BYTES = 64 * 1024 * 1024  # beyond this nothing is added: two copies must fit the object store while they merge


class SharedCosts:
    """`put` places a snapshot in the object store and returns its reference; None where there is no room, after which
    nothing more is shared: workers then price what they lack themselves."""

    def __init__(self, snapshot: Snapshot, put: Callable[[Snapshot], Any | None]) -> None:
        self._put = put
        reference = put(snapshot) if len(snapshot) else None
        self._full = bool(len(snapshot)) and reference is None
        self._parts: list[tuple[Snapshot, Any]] = [(snapshot, reference)] if len(snapshot) else []
        self._known = set(snapshot.hashes.tolist())  # in `_parts` or `_new`
        self._new: dict[int, tuple[Float64, float]] = {}
        self._new_bytes = 0
        self._results = 0
        self._worth_s = 0.0  # what computing the new entries took
        self.counters = CacheCounters()
        self.version = 0

    @property
    def references(self) -> list[Any]:
        """Of the snapshots that workers should look in; they change when `version` does."""
        return [reference for _, reference in self._parts if reference is not None]

    @property
    def nbytes(self) -> int:
        return sum(snapshot.nbytes for snapshot, _ in self._parts) + self._new_bytes

    def add(self, new_costs: Snapshot, counters: CacheCounters, results: int) -> None:
        """Takes in what a call of `results` trials brought back."""
        self._results += results
        self.counters.add(counters)
        if not len(new_costs) or self.nbytes >= MAX_BYTES:
            return
        values = new_costs.values.copy()  # a view would hold the message in the object store
        offsets = new_costs.offsets.tolist()
        for key, start, stop, seconds in zip(new_costs.hashes.tolist(), offsets, offsets[1:], new_costs.seconds.tolist(),
                                             strict=False):
            if key not in self._known:
                self._known.add(key)
                self._new[key] = values[start:stop], seconds
                self._new_bytes += values[start:stop].nbytes
                self._worth_s += seconds

    def publish_if_due(self) -> None:
        """Publishes what is new, after 16 results at the earliest, if that pays."""
        if not self._new or self._full or self._results < PUBLISH_RESULTS:
            return
        size, kept = self._new_bytes, len(self._parts)
        while kept and self._parts[kept - 1][0].nbytes < 2 * size:
            kept -= 1
            size += self._parts[kept][0].nbytes
        if self._worth_s < WORTH * (PUT_SECONDS + BYTE_SECONDS * size):
            return
        fresh = merge([*(snapshot for snapshot, _ in self._parts[kept:]), from_entries(self._new)])
        reference = self._put(fresh)
        if reference is None:
            self._full = True
            return
        self._new, self._new_bytes = {}, 0
        self._parts[kept:] = [(fresh, reference)]
        self.version += 1
        self._results, self._worth_s = 0, 0.0

    def snapshot(self) -> Snapshot:
        """Everything known so far, merged."""
        return merge([*(snapshot for snapshot, _ in self._parts), from_entries(self._new)])
