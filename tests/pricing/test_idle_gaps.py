"""Tables of kernel times lack the pauses between kernels; other tables do not."""

import dataclasses

import numpy as np
import pytest

from simulator.design.engine_defaults.graphs import GraphCover
from simulator.devices.measured.table import at_speed, from_columns
from simulator.model.layers import operators
from simulator.pricing.idle_gaps import kernel_gaps
from tests.devices.measured.bundles import design, table


def test_a_llama_block_has_ten_kernels_and_so_many_gaps():
    ops = operators(design("RTX4090").model, design("RTX4090").precision, 1)
    found, = kernel_gaps(ops, table("RTX4090"), GraphCover((1, 2, 4, 8)), np.array([1.0, 8.0, 9.0, 2048.0]))
    assert found.repeats == 32
    assert found.seconds * 1e6 == pytest.approx([5, 5, 9, 9])


def test_tables_that_time_whole_calls_have_no_gaps_to_add():
    ops = operators(design("RTX4090").model, design("RTX4090").precision, 1)
    assert kernel_gaps(ops, dataclasses.replace(table("RTX4090"), meta={}), GraphCover(), np.array([1.0])) == []


def test_another_speed_is_another_table():
    one = from_columns({"kind": np.array(["gemm"]), "n": np.array([64]), "k": np.array([64]), "rows": np.array([1]),
                        "seconds": np.array([1e-5])}, {})
    slower = at_speed(one, 1.1)
    assert slower.columns["seconds"] == pytest.approx([1.1e-5])
    assert slower.content_hash != one.content_hash and at_speed(one, 1.0) is one
