"""The driver's side of the cost cache: few snapshots, each entry copied few times, memory bounded."""

import math

import numpy as np
import pytest

from simulator.pricing.cache import CacheCounters, Snapshot, empty, from_entries
from sweeper.workers import shared_costs
from sweeper.workers.shared_costs import SharedCosts


def entry(key: int) -> Snapshot:
    return from_entries({key: (np.full(8, float(key)), 0.1)})


def test_a_snapshot_is_published_after_sixteen_results_not_before() -> None:
    puts: list[Snapshot] = []
    costs = SharedCosts(empty(), lambda s: puts.append(s) or len(puts))
    for key in range(15):
        costs.add(entry(key), CacheCounters(), 1)
        costs.publish_if_due()
    assert (costs.version, puts) == (0, [])
    costs.add(entry(15), CacheCounters(), 1)
    costs.publish_if_due()
    assert costs.version == 1 and puts[0].hashes.tolist() == list(range(16))


def test_what_is_cheaper_to_compute_than_to_share_is_kept_and_not_published() -> None:
    costs = SharedCosts(empty(), lambda s: s)
    for key in range(64):
        costs.add(from_entries({key: (np.ones(8), 1e-6)}), CacheCounters(), 1)
        costs.publish_if_due()
    assert costs.version == 0 and len(costs.snapshot()) == 64
    costs.add(entry(64), CacheCounters(), 1)  # a dear one takes the others along
    costs.publish_if_due()
    assert costs.version == 1 and len(costs.references[0]) == 65


def test_what_several_workers_computed_is_kept_once() -> None:
    costs = SharedCosts(entry(1), lambda s: s)
    for _ in range(3):
        costs.add(from_entries({1: (np.full(8, 1.0), 0.1), 2: (np.full(8, 2.0), 0.1)}), CacheCounters(), 1)
    assert costs.snapshot().hashes.tolist() == [1, 2]
    assert costs.nbytes == entry(1).nbytes + 64


def test_nothing_new_publishes_nothing() -> None:
    costs = SharedCosts(entry(1), lambda s: s)
    for _ in range(40):
        costs.add(empty(), CacheCounters(hits=2), 1)
        costs.publish_if_due()
    assert costs.version == 0 and costs.counters.hits == 80


def test_snapshots_stay_few_and_the_bytes_put_grow_like_n_log_n() -> None:
    put_bytes: list[int] = []
    costs = SharedCosts(empty(), lambda s: put_bytes.append(s.nbytes) or s)
    for key in range(16 * 256):
        costs.add(entry(key), CacheCounters(), 1)
        costs.publish_if_due()
    assert len(costs.references) <= math.log2(256) + 1
    assert sorted(k for part in costs.references for k in part.hashes.tolist()) == list(range(16 * 256))
    assert len(costs.snapshot()) == 16 * 256
    assert sum(put_bytes) < 2 * costs.nbytes * math.log2(256)  # one snapshot of everything each time: 128 times


def test_a_full_cache_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_costs, "MAX_BYTES", 3000)
    costs = SharedCosts(empty(), lambda s: s)
    for key in range(1000):
        costs.add(entry(key), CacheCounters(), 16)
        costs.publish_if_due()
    assert 3000 <= costs.nbytes < 3200


def test_a_full_object_store_ends_the_sharing_and_loses_nothing() -> None:
    costs = SharedCosts(empty(), lambda _: None)
    for key in range(40):
        costs.add(entry(key), CacheCounters(), 1)
        costs.publish_if_due()
    assert (costs.version, costs.references) == (0, [])
    assert costs.snapshot().hashes.tolist() == list(range(40))
    assert len(SharedCosts(entry(7), lambda _: None).snapshot()) == 1
