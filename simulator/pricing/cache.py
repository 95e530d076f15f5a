"""The cost cache: priced operator curves, keyed by what they were computed from.

An entry is a float64 array (the prices of one operator on one device over a canonical grid). Its key is a 64-bit
BLAKE2b hash of the pricing code, the device's fingerprint, the operator and the grid, so that a change to any of them
is another key (a clash among a million entries has a chance of 3e-8). A `Snapshot` is an immutable set of entries in
four flat arrays: workers map it zero-copy from the Ray object store and look keys up by bisection.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError
from simulator.inputs.files import MIB, opened

Float64 = NDArray[np.float64]
T = TypeVar("T")

MOST_FILE = 512 * MIB  # of a file; what a sweep shares, and so saves, ends at 64 MiB
MAX_SHARED = 128  # results of `CostCache.shared` that are kept, some 300 kB each


@dataclass(frozen=True)
class Snapshot:
    """Immutable entries: hashes ascending; entry i is values[offsets[i]:offsets[i+1]], and took seconds[i] to compute."""

    hashes: NDArray[np.uint64]  # [n]
    offsets: NDArray[np.int64]  # [n + 1]
    values: Float64
    seconds: Float64  # [n]

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def nbytes(self) -> int:
        return self.hashes.nbytes + self.offsets.nbytes + self.values.nbytes + self.seconds.nbytes

    def find(self, key: int) -> int:
        """Index of a key, -1 where absent."""
        i = int(np.searchsorted(self.hashes, np.uint64(key)))
        return i if i < len(self.hashes) and int(self.hashes[i]) == key else -1


def empty() -> Snapshot:
    """A snapshot without entries."""
    return from_entries({})


def from_entries(entries: dict[int, tuple[Float64, float]]) -> Snapshot:
    """A snapshot of {key: (values, seconds to compute)}."""
    keys = sorted(entries)
    arrays = [entries[k][0] for k in keys]
    offsets = np.zeros(len(keys) + 1, dtype=np.int64)
    np.cumsum([len(a) for a in arrays], out=offsets[1:])
    return Snapshot(np.asarray(keys, dtype=np.uint64), offsets,
                    np.concatenate(arrays) if arrays else np.zeros(0), np.asarray([entries[k][1] for k in keys], dtype=float))


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """All entries of the snapshots; where several have a key, the first one's (they hold the same values)."""
    parts = [s for s in snapshots if len(s)]
    if len(parts) < 2:
        return parts[0] if parts else empty()
    hashes, first = np.unique(np.concatenate([s.hashes for s in parts]), return_index=True)
    pieces = [piece for s in parts for piece in np.split(s.values, s.offsets[1:-1])]
    chosen = [pieces[i] for i in first.tolist()]
    offsets = np.zeros(len(hashes) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in chosen], out=offsets[1:])
    return Snapshot(hashes, offsets, np.concatenate(chosen), np.concatenate([s.seconds for s in parts])[first])


def save(snapshot: Snapshot, path: Path) -> None:
    """Writes a snapshot (.npz), whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, hashes=snapshot.hashes, offsets=snapshot.offsets, values=snapshot.values, seconds=snapshot.seconds)
    part.replace(path)


def load(path: Path) -> Snapshot:
    """Reads a snapshot; raises InputError where the file is absent or not a cost cache."""
    names = ("hashes", "offsets", "values", "seconds")
    with opened(path, most=MOST_FILE, missing="no such cost cache") as file:
        try:
            with zipfile.ZipFile(file) as archive:  # sizes are looked at before anything is unpacked
                sizes = {info.filename: info.file_size for info in archive.infolist()}
                if sum(sizes.values()) > MOST_FILE:
                    raise InputError(f"unpacks to more than {MOST_FILE // MIB:,} MiB, the most that is read", file=str(path))
                arrays = [_column(archive, f"{name}.npy") for name in names]
        except InputError:
            raise
        except Exception as error:  # zipfile and numpy raise a dozen kinds for a file that is no archive
            raise InputError("is not a cost cache (expected the costs.npz of a study folder)", file=str(path)) from error
    if not _consistent(*arrays):
        raise InputError("is a damaged cost cache; delete it", file=str(path))
    return Snapshot(*arrays)


def _column(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array of an archive, no more of it than its directory entry says. No pickles."""
    size = archive.getinfo(name).file_size
    with archive.open(name) as member:
        data = member.read(size + 1)
    if len(data) != size:
        raise ValueError("the size is wrong")
    found: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return found


def _consistent(hashes: NDArray[Any], offsets: NDArray[Any], values: NDArray[Any], seconds: NDArray[Any]) -> bool:
    """Whether the arrays are a snapshot: types, shapes, ascending hashes, offsets that cut `values` in order."""
    kinds = (np.uint64, np.int64, np.float64, np.float64)
    if not all(a.ndim == 1 and a.dtype == kind for a, kind in zip((hashes, offsets, values, seconds), kinds, strict=True)):
        return False
    n = len(hashes)
    if len(offsets) != n + 1 or len(seconds) != n or offsets[0] != 0 or offsets[-1] != len(values):
        return False
    return bool(np.all(hashes[1:] > hashes[:-1]) and np.all(offsets[1:] >= offsets[:-1]) and np.all(np.isfinite(values))
                and np.all(seconds >= 0))


@dataclass
class CacheCounters:
    """What the cache did. `saved_s` is what the hits' entries took when they were computed, less the time spent looking."""

    hits: int = 0
    misses: int = 0
    computed_s: float = 0.0
    saved_s: float = 0.0

    def add(self, other: CacheCounters) -> None:
        self.hits += other.hits
        self.misses += other.misses
        self.computed_s += other.computed_s
        self.saved_s += other.saved_s


@dataclass
class CostCache:
    """A snapshot (or several, see `use`) with this process's own new entries on top; of those at most `max_own_bytes`."""

    snapshot: Snapshot = field(default_factory=empty)
    counters: CacheCounters = field(default_factory=CacheCounters)
    max_own_bytes: int = 64 * 1024 * 1024
    _own: dict[int, tuple[Float64, float]] = field(default_factory=dict)  # oldest first
    _own_bytes: int = 0
    _new: dict[int, tuple[Float64, float]] = field(default_factory=dict)
    _snapshots: tuple[Snapshot, ...] = ()
    _shared_results: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...], int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._snapshots = (self.snapshot,)

    def get(self, key: int, compute: Callable[[], Float64]) -> Float64:
        """The entry of `key`, computed on a miss. The array is shared: do not write to it."""
        start = time.perf_counter()
        entry = self._own.get(key) or self._in_snapshots(key)
        if entry is not None:
            self.counters.hits += 1
            self.counters.saved_s += entry[1] - (time.perf_counter() - start)
            return entry[0]
        values = compute()
        values.setflags(write=False)
        spent = time.perf_counter() - start
        self._own[key] = self._new[key] = (values, spent)
        self._own_bytes += values.nbytes
        while self._own_bytes > self.max_own_bytes and len(self._own) > 1:
            self._forget(next(iter(self._own)))
        self.counters.misses += 1
        self.counters.computed_s += spent
        return values

    def shared(self, records: tuple[Any, ...], rest: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """What `compute` makes of entries, computed once for the same `records` (frozen; the very objects) and `rest`.

        A result that is at hand counts as a hit of every entry that it was made of.
        """
        key = (*map(id, records), *rest)
        start = time.perf_counter()
        found = self._shared_results.get(key)
        counters = self.counters
        if found is not None:
            result, _, entries, seconds = found
            counters.hits += entries
            counters.saved_s += seconds - (time.perf_counter() - start)
            return result
        before = (counters.hits + counters.misses, counters.saved_s + counters.computed_s)
        result = compute()
        entries = counters.hits + counters.misses - before[0]
        while len(self._shared_results) >= MAX_SHARED:
            self._shared_results.pop(next(iter(self._shared_results)))
        # the records are kept along, so that no other object gets their identity
        self._shared_results[key] = (result, records, entries, counters.saved_s + counters.computed_s - before[1])
        return result

    def use(self, *snapshots: Snapshot) -> None:
        """Looks in `snapshots` from now on; own entries that they hold are dropped."""
        self._snapshots = snapshots
        for key in [k for k in self._own if self._in_snapshots(k) is not None]:
            self._forget(key)

    def _in_snapshots(self, key: int) -> tuple[Float64, float] | None:
        for s in self._snapshots:
            i = s.find(key)
            if i >= 0:
                return s.values[s.offsets[i]: s.offsets[i + 1]], float(s.seconds[i])
        return None

    def _forget(self, key: int) -> None:
        self._own_bytes -= self._own.pop(key)[0].nbytes

    def take_new(self) -> Snapshot:
        """Entries computed since the last call, for the driver to merge."""
        new, self._new = self._new, {}
        return from_entries(new)

    def take_counters(self) -> CacheCounters:
        """Counters since the last call."""
        counters, self.counters = self.counters, CacheCounters()
        return counters


@lru_cache(maxsize=1)
def code_version() -> str:
    """Digest of the pricing code: entries of other versions are never found."""
    root = Path(__file__).resolve().parent.parent
    digest = blake2b(digest_size=16)
    for room in ("design/records", "model", "devices", "silicon", "pricing"):
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def key_of(*parts: str) -> int:
    """The 64-bit key of an entry computed from `parts` by this version of the code."""
    text = "\x1f".join((code_version(), *parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
