import dataclasses

import numpy as np
import pytest

from simulator.devices.measured.parquet import read_table, write_table
from simulator.devices.measured.table import from_columns
from simulator.inputs.errors import InputError


def gemm(rows, seconds, **meta):
    count = len(rows)
    return from_columns({"kind": np.full(count, "gemm"), "n": np.full(count, 8), "k": np.full(count, 4),
                         "weight_bits": np.full(count, 16), "activation_bits": np.full(count, 16),
                         "rows": np.array(rows), "seconds": np.array(seconds)}, meta)


def test_a_table_survives_its_file(tmp_path):
    table = gemm([1, 2, 64], [1e-6, 2e-6, 3e-6], device="X", framework="vllm 0.19")
    write_table(table, tmp_path / "t.parquet")
    again = read_table(tmp_path / "t.parquet")
    assert again.content_hash == table.content_hash
    assert again.meta == table.meta
    assert all((again.columns[name] == table.columns[name]).all() for name in table.columns)


def test_another_time_or_another_source_is_another_content():
    table = gemm([1, 2], [1e-6, 2e-6], device="X")
    assert gemm([1, 2], [1e-6, 3e-6], device="X").content_hash != table.content_hash
    assert gemm([1, 2], [1e-6, 2e-6], device="Y").content_hash != table.content_hash


def test_repeated_measurements_are_averaged():
    points = gemm([1, 1, 2], [1e-6, 3e-6, 5e-6]).points("gemm", (8, 4, 16, 16))
    assert points.axes.tolist() == [[1.0, 2.0]]
    assert points.seconds == pytest.approx([2e-6, 5e-6])


@pytest.mark.parametrize(("columns", "key"), [
    ({"kind": np.array(["gem"]), "seconds": np.array([1.0])}, "kind"),
    ({"kind": np.array(["gemm"]), "seconds": np.array([0.0])}, "seconds"),
    ({"kind": np.array(["gemm"]), "seconds": np.array([np.nan])}, "seconds"),
    ({"kind": np.array(["gemm"]), "rows": np.array([1, 2]), "seconds": np.array([1.0])}, "rows"),
])
def test_nonsense_is_refused_by_column(columns, key):
    with pytest.raises(InputError) as refused:
        from_columns(columns, {})
    assert refused.value.key == key


def test_a_file_of_another_kind_is_refused_by_name(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="not a parquet file"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="no such operator table"):
        read_table(tmp_path / "none.parquet")
    assert dataclasses.is_dataclass(gemm([1], [1e-6]))
