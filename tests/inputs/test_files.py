"""Every reader of a user's file against every file that is not what it says: one InputError, soon, whatever it is."""

from __future__ import annotations

import gzip
import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.design.records.workload import Workload
from simulator.devices.measured.parquet import read_for_degree
from simulator.importers.own_parquet import read_files
from simulator.importers.rows import read_csv, read_header
from simulator.inputs import files, narrowing
from simulator.inputs.errors import InputError
from simulator.inputs.files import open_lines, opened, parse_json, read_text
from simulator.inputs.yaml_file import load_yaml
from simulator.pricing import cache
from simulator.profiling.journal import open_journal
from simulator.recorded.vllm_run import read_run
from simulator.recorded.vllm_steps import read_steps
from simulator.workload.pieces import exceeds, pieces_of
from simulator.workload.trace_files import read_trace
from sweeper.sinks.optuna_storage import check_storage
from sweeper.space.file import load_space
from sweeper.study import ledger
from sweeper.study.folder import reopen

SECONDS = 5.0


def _run_of(name: str) -> Callable[[Path], object]:
    """A recorded run whose file of that name is the path."""
    def read(path: Path) -> object:
        folder = path.parent / "run"
        folder.mkdir(exist_ok=True)
        if name != "meta.json":
            (folder / "meta.json").write_text('{"model": "m", "engine_kwargs": {"max_num_seqs": 1, "max_num_batched_tokens": 1}}')
        if name == "timeseries.csv":
            (folder / "requests.jsonl").write_text('{"request_id": "0", "queued_ts": 0, "first_token_ts": 1, "last_token_ts": 2, '
                                                   '"input_toks": 1, "output_toks": 1}')
        (folder / name).symlink_to(path)
        return read_run(folder)
    return read


def _table_of(suffix: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        link = path.parent / f"link.{suffix}"
        link.symlink_to(path)
        return read_files(link)
    return read


def _study(path: Path) -> object:
    (path.parent / "trials.jsonl").symlink_to(path)
    return reopen(path.parent)


READERS: dict[str, Callable[[Path], object]] = {
    "yaml": load_yaml, "space": load_space, "trace": lambda path: read_trace(str(path)),
    "trace in pieces": lambda path: list(pieces_of(Workload(trace=str(path)))),
    "length of a trace": lambda path: exceeds(Workload(trace=str(path)), 1000),
    "steps": read_steps, "cost cache": cache.load, "operator table": lambda path: read_for_degree(path, 1),
    "imported parquet": _table_of("parquet"), "imported CSV": _table_of("csv"), "profile CSV": lambda path: read_csv(path, ["a"]),
    "profile header": read_header, "journal of a profile": lambda path: open_journal(path, {"model": "m"}),
    "ledger": lambda path: ledger.read(path), "ledger, to go on": ledger.reopen, "study": _study,
    **{f"recorded {name}": _run_of(name) for name in ("meta.json", "requests.jsonl", "timeseries.csv", "cluster.json")},
    "storage": lambda path: check_storage(str(path)),
}
LENIENT = ("length of a trace", "profile header", "recorded timeseries.csv")  # look at the first lines only, or take no rows


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_like(path: Path) -> None:
    path.symlink_to("/dev/full")


def loop(path: Path) -> None:
    path.symlink_to(path)


def noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4096))


def nuls(path: Path) -> None:
    path.write_bytes(bytes(4096))


def sparse(path: Path) -> None:
    """20 GB of nothing in one line."""
    with path.open("wb") as file:
        file.truncate(20 << 30)


def bomb(path: Path) -> None:
    """300 MB in one line, 300 kB on disk."""
    with gzip.open(path, "wb", 9) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))


def torn_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"arrival_s,prompt_tokens,output_tokens\n0,1,1\n" * 50)[:40])


def deep(path: Path) -> None:
    path.write_text("[" * 200_000)


def deep_object(path: Path) -> None:
    path.write_text('{"a":' * 200_000)


def long_number(path: Path) -> None:
    path.write_text('{"arrival_s": ' + "9" * 10_000 + "}\n")


FILES = (device, pipe, socket_like, loop, noise, nuls, sparse, bomb, torn_gzip, deep, deep_object, long_number)


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_hangs_or_raises_anything_but_an_input_error(reader: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    make(path)
    before = path.stat().st_size if make not in (device, pipe, socket_like, loop) else 0
    start_s = time.monotonic()
    try:
        READERS[reader](path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert reader in LENIENT
    assert time.monotonic() - start_s < SECONDS
    if before:
        assert path.stat().st_size == before  # nothing was "repaired"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["n" * 300, "nul\0", "sur\udcff"], ids=["300 characters", "NUL", "surrogate"])
def test_odd_names_are_input_errors(reader: str, name: str, tmp_path: Path) -> None:
    if reader.startswith(("recorded", "imported", "study")):
        pytest.skip("the path is a link made by the test")
    if reader in ("journal of a profile", "storage") and name.startswith("sur"):
        pytest.skip("a legal name of a new file")
    with pytest.raises(InputError):
        READERS[reader](tmp_path / name)


def test_a_file_that_grows_while_it_is_read_ends_at_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(InputError, match="most that is read"), opened(path, most=2000) as file:
        with path.open("ab") as more:
            more.write(b"x" * 5000)
        file.read()


def test_limits_are_said_in_the_error(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match="is larger than 4 MiB"):
        sparse(tmp_path / "b")
        load_yaml(tmp_path / "b")
    monkeypatch.setattr(files, "MOST_LINE", 1000)
    with pytest.raises(InputError, match="has a line of more than 0 MiB"), open_lines(path) as lines:
        list(lines)


def test_a_trace_of_short_lines_that_repeats_is_not_a_bomb(tmp_path):
    """CSV compresses 30 to 1 where it repeats; a real trace is read whatever the ratio below 64 MiB."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"arrival_s,prompt_tokens,output_tokens\n" + b"0,1,1\n" * 100_000))
    assert len(read_trace(str(path))) == 100_000


def test_a_cost_cache_is_measured_before_it_is_unpacked(tmp_path):
    path = tmp_path / "costs.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (600_000_000,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("hashes", "offsets", "values", "seconds"):
            with archive.open(f"{name}.npy", "w") as member:
                member.write(header.getvalue())
                for _ in range(150):
                    member.write(bytes(1 << 20))
    with pytest.raises(InputError, match="unpacks to more than 512 MiB"):
        cache.load(path)


def test_a_cost_cache_of_objects_is_refused_unread(tmp_path):
    path = tmp_path / "costs.npz"
    np.savez(path, hashes=np.array([print], object), offsets=np.zeros(1, np.int64), values=np.zeros(0), seconds=np.zeros(0))
    with pytest.raises(InputError, match="is not a cost cache"):
        cache.load(path)


@pytest.mark.parametrize("change", [{"offsets": np.array([0, 5])}, {"offsets": np.array([2, 1])}, {"values": np.array([np.nan])},
                                    {"hashes": np.array([1.0])}, {"seconds": np.array([[1.0]])}, {"seconds": np.array([-1.0])}])
def test_an_inconsistent_cost_cache_is_damaged(change, tmp_path):
    good = {"hashes": np.array([7], np.uint64), "offsets": np.array([0, 1]), "values": np.array([1.0]), "seconds": np.array([0.1])}
    np.savez(tmp_path / "costs.npz", **good)
    assert len(cache.load(tmp_path / "costs.npz")) == 1
    np.savez(tmp_path / "costs.npz", **{**good, **change})
    with pytest.raises(InputError, match="is a damaged cost cache"):
        cache.load(tmp_path / "costs.npz")


@pytest.mark.parametrize("column", [pa.array(np.zeros(6_000_000)), pa.DictionaryArray.from_arrays(
    pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 100_000]))], ids=["rows", "one long text for all rows"])
def test_parquet_is_measured_before_it_is_unpacked(column, tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"kind": column, "seconds": pa.nulls(len(column), pa.float64())}), path)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="are read"):
        read_for_degree(path, 1)


def test_parquet_metadata_that_is_no_text(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"kind": ["gemm"]}).replace_schema_metadata({b"\xff\xfe": b"x"}), path)
    with pytest.raises(InputError, match="metadata is not text"):
        read_for_degree(path, 1)


@pytest.mark.parametrize("values", [[2**31], [-(2**31) - 1], [0, 2**40]])
def test_narrowing_refuses_what_would_wrap(values):
    with pytest.raises(InputError, match="is outside of"):
        narrowing.int32(values, "priority")
    assert narrowing.int32([2**31 - 1, -(2**31)], "priority").tolist() == [2**31 - 1, -(2**31)]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, "", "{"])
def test_strict_json(text):
    with pytest.raises(InputError, match="is not JSON"):
        parse_json(text)


def test_a_byte_order_mark_is_no_character(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfx: 1\n")
    assert read_text(tmp_path / "a") == "x: 1\n"
    assert load_yaml(tmp_path / "a") == {"x": 1}
