import shutil

import pytest

from simulator.design.load import resolve
from simulator.importers.llmservingsim import read_degree, read_meta
from simulator.inputs.errors import InputError
from tests.shared import shared_file

BUNDLE = "data/llmservingsim_tables/RTX4090/Llama-3.1-8B"
DESIGN = {"model": "llama-3.1-8b", "hardware": "rtx4090", "workload": "chat-200"}


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(shared_file(BUNDLE), tmp_path / "bundle")
    for path in (tmp_path / "bundle").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (tmp_path / "bundle").chmod(0o755)
    return tmp_path / "bundle"


def read(folder, tensor=1):
    design = resolve(DESIGN)
    return read_degree(read_meta(folder), design.model, design.precision, tensor)


def test_every_row_of_a_bundle_arrives_in_seconds():
    table = read(shared_file(BUNDLE))
    kinds = table.columns["kind"].tolist()
    assert kinds.count("prefill_attention") == 96 and kinds.count("decode_attention") == 99
    assert kinds.count("mixed_attention") == 8448
    assert kinds.count("gemm") == 4 * 152 + 40  # four projections and the head
    assert kinds.count("vector") == 6 * 152 + 40  # layernorm serves two operators
    lm_head = table.points("gemm", (128256, 4096, 16, 16))
    assert lm_head.seconds[0] == pytest.approx(1096.93e-6)


def test_a_degree_that_was_not_profiled_is_refused():
    with pytest.raises(InputError, match="no tp2/"):
        read(shared_file(BUNDLE), tensor=2)


def test_a_layer_without_an_operator_is_refused_by_name(copy):
    with (copy / "tp1/dense.csv").open("a") as file:
        file.write("moe,16,12.5\n")
    with pytest.raises(InputError, match="'moe'"):
        read(copy)


def test_a_missing_column_or_file_is_named(copy):
    (copy / "tp1/attention.csv").write_text("prefill_chunk,time_us\n0,1\n")
    with pytest.raises(InputError, match="kv_prefill"):
        read(copy)
    (copy / "tp1/dense.csv").unlink()
    with pytest.raises(InputError, match="no such file"):
        read(copy)
    with pytest.raises(InputError, match=r"meta\.yaml"):
        read_meta(copy / "tp1")
