"""Folders of tables, and that what is in them is part of every key."""

import numpy as np
import pytest

from simulator.design.load import resolve
from simulator.design_key import design_key
from simulator.devices.measured.parquet import content_hash, read_for_degree, write_table
from simulator.devices.measured.table import from_columns
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price


def gemm(seconds, **noise):
    rows = [1, 64, 4096]
    return from_columns({"kind": np.full(3, "gemm"), "n": np.full(3, 6144), "k": np.full(3, 4096),
                         "weight_bits": np.full(3, 16), "activation_bits": np.full(3, 16), "rows": np.array(rows),
                         "seconds": np.array(seconds), **noise}, {"device": "X"})


SECONDS = [20e-6, 25e-6, 400e-6]


@pytest.fixture
def folder(tmp_path):
    write_table(gemm(SECONDS), tmp_path / "tp1.parquet")
    write_table(gemm([2 * s for s in SECONDS]), tmp_path / "operators.parquet")
    return tmp_path


def design(tables):
    return resolve({"model": "llama-3.1-8b", "hardware": {"base": "h100-sxm", "tables": str(tables)}, "workload": "chat-200"})


def test_a_degree_has_its_own_table_or_the_one_for_all(folder):
    assert read_for_degree(folder, 1).columns["seconds"].tolist() == SECONDS
    assert read_for_degree(folder, 2).columns["seconds"].tolist() == [2 * s for s in SECONDS]
    (folder / "operators.parquet").unlink()
    with pytest.raises(InputError) as refused:
        read_for_degree(folder, 2)
    assert refused.value.key == "hardware.tables" and "it has tp1.parquet" in str(refused.value)


def test_the_content_of_every_table_is_part_of_the_design_key(folder):
    before = design_key(design(folder))
    write_table(gemm([2 * s for s in SECONDS]), folder / "operators.parquet")
    assert design_key(design(folder)) == before  # written again, the same content
    write_table(gemm([3 * s for s in SECONDS]), folder / "operators.parquet")
    assert design_key(design(folder)) != before


def test_changed_times_are_never_answered_from_the_cost_cache(folder):
    cache = CostCache()
    fast = price(design(folder), cache).costs.linear_ns
    hits = price(design(folder), cache).costs.linear_ns
    assert np.array_equal(fast, hits) and cache.counters.hits > 0
    write_table(gemm([5 * s for s in SECONDS]), folder / "tp1.parquet")
    assert price(design(folder), cache).costs.linear_ns[64] > fast[64]


def test_noise_is_kept_and_changes_no_key(folder):
    noisy = gemm(SECONDS, mad_s=np.array([1e-7, 2e-7, 3e-7]), repeats=np.array([9, 9, 9]))
    assert noisy.content_hash == gemm(SECONDS).content_hash
    write_table(noisy, folder / "noisy.parquet")
    again = read_for_degree(folder / "noisy.parquet", 1)
    assert again.columns["mad_s"].tolist() == [1e-7, 2e-7, 3e-7] and again.columns["repeats"].tolist() == [9, 9, 9]
    assert content_hash(folder / "noisy.parquet") == noisy.content_hash
