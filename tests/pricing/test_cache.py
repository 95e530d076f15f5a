"""The cost cache: what was computed is found again, counted truly, and damage is noticed."""

import time

import numpy as np
import pytest

from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache, from_entries, key_of, load, merge, save


def slow(value):
    def compute():
        time.sleep(0.01)
        return np.full(3, value)
    return compute


def must_not_run():
    raise AssertionError("computed although cached")


def test_an_entry_is_computed_once_and_counted():
    cache = CostCache()
    assert cache.get(5, slow(1.0)).tolist() == [1.0] * 3
    assert cache.get(5, must_not_run).tolist() == [1.0] * 3
    counters = cache.take_counters()
    assert (counters.hits, counters.misses) == (1, 1)
    assert counters.computed_s >= 0.01
    assert 0.009 <= counters.saved_s <= counters.computed_s
    assert (cache.counters.hits, cache.counters.misses) == (0, 0)


def test_new_entries_travel_through_merge_and_file(tmp_path):
    one, two = CostCache(), CostCache()
    one.get(9, slow(1.0))
    two.get(4, slow(2.0))
    two.get(9, slow(1.0))
    snapshot = merge([one.take_new(), two.take_new()])
    assert snapshot.hashes.tolist() == [4, 9]
    save(snapshot, tmp_path / "costs.npz")
    cache = CostCache(load(tmp_path / "costs.npz"))
    assert cache.get(4, must_not_run).tolist() == [2.0] * 3
    assert cache.get(9, must_not_run).tolist() == [1.0] * 3
    assert len(cache.take_new()) == 0


def test_several_snapshots_serve_as_one_and_own_entries_in_them_are_dropped():
    cache = CostCache()
    cache.get(3, slow(3.0))
    mine = cache.take_new()
    cache.use(from_entries({1: (np.ones(2), 0.5)}), from_entries({2: (np.full(1, 2.0), 0.25)}), mine)
    assert [cache.get(key, must_not_run).tolist() for key in (1, 2, 3)] == [[1.0, 1.0], [2.0], [3.0, 3.0, 3.0]]
    assert cache._own == {} and cache._own_bytes == 0


def test_own_entries_are_bounded_and_the_oldest_go_first():
    cache = CostCache(max_own_bytes=3 * 24)
    for key in range(5):
        cache.get(key, lambda: np.zeros(3))
    assert list(cache._own) == [2, 3, 4]
    assert len(cache.take_new()) == 5


def test_merge_keeps_every_entry_whole_whatever_its_length():
    rng = np.random.default_rng(0)
    parts = [from_entries({int(k): (rng.random(int(k) % 7), k / 10) for k in rng.integers(0, 60, 20)}) for _ in range(4)]
    merged = merge([*parts[:2], from_entries({}), *parts[2:]])
    expected = {}
    for part in parts:
        for i, key in enumerate(part.hashes.tolist()):
            expected.setdefault(key, (part.values[part.offsets[i]: part.offsets[i + 1]].tolist(), part.seconds[i]))
    assert merged.hashes.tolist() == sorted(expected)
    for i, key in enumerate(merged.hashes.tolist()):
        assert (merged.values[merged.offsets[i]: merged.offsets[i + 1]].tolist(), merged.seconds[i]) == expected[key]


def test_entries_are_read_only():
    cache = CostCache()
    with pytest.raises(ValueError, match="read-only"):
        cache.get(1, slow(1.0))[0] = 2.0


def test_keys_differ_with_every_part():
    assert len({key_of("a", "b"), key_of("ab", ""), key_of("a", "c"), key_of("a")}) == 4


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 half a zip"])
def test_files_that_are_no_cache_are_refused(tmp_path, content):
    file = tmp_path / "costs.npz"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a cost cache"):
        load(file)
    with pytest.raises(InputError, match="no such cost cache"):
        load(tmp_path / "absent.npz")


def test_a_damaged_cache_is_noticed(tmp_path):
    good = from_entries({1: (np.ones(2), 0.0), 2: (np.ones(2), 0.0)})
    np.savez(tmp_path / "bad.npz", hashes=good.hashes[::-1], offsets=good.offsets, values=good.values, seconds=good.seconds)
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path / "bad.npz")
