"""`simulator price` and `simulator hardware`: operators as text, rooflines by hand, one line for mistakes."""

import json

import numpy as np
import pytest

from simulator.__main__ import main
from simulator.commands.operator_text import parse_operator
from simulator.design.load import CONFIGS, load_hardware
from simulator.devices.roofline import peaks, roofline_s
from simulator.inputs.errors import InputError
from simulator.model.operators import DecodeAttention, Gemm


def test_ranges_double_or_count():
    assert parse_operator("gemm m=1..8 n=4 k=4").axes[0].tolist() == [1, 2, 4, 8]
    assert parse_operator("gemm m=1..10 n=4 k=4").axes[0].tolist() == [1, 2, 4, 8, 10]
    assert parse_operator("gemm m=64..256:64 n=4 k=4").axes[0].tolist() == [64, 128, 192, 256]
    assert parse_operator("all_reduce bytes=1KiB,2MB").axes[0].tolist() == [1024, 2e6]
    both = parse_operator("decode_attention sequences=1,2 context=10,20 kv=fp8")
    assert [a.tolist() for a in both.axes] == [[1, 1, 2, 2], [10, 20, 10, 20]]
    assert both.operator == DecodeAttention(32, 8, 128, 8, 16)
    assert parse_operator("gemm m=1 n=2 k=3 weights=int4").operator == Gemm(2, 3, 4, 16)


def test_rooflines_are_the_textbook_ones():
    """H100 SXM: 989 TFLOP/s, 3.35 TB/s. One row reads 4096 x 4096 x 2 bytes; 8,192 rows compute 2 m n k."""
    h100 = load_hardware("h100-sxm", {})
    floor = roofline_s(h100, Gemm(4096, 4096, 16, 16), np.array([1.0, 8192.0]))
    assert floor[0] == pytest.approx((4096 * 4096 + 2 * 4096) * 2 / 3.35e12, rel=1e-3)
    assert floor[1] == pytest.approx(2 * 8192 * 4096**2 / 989e12, rel=1e-3)
    npu = load_hardware("npu-base", {"npu.arrays": 2, "npu.clock": "1 GHz", "npu.array": [128, 128]})
    assert peaks(npu).matrix_16bit_flops == 2 * 2 * 128 * 128 * 1e9


def test_prices_are_never_below_the_roofline(capsys):
    for op in ("gemm m=1..8192 n=4096 k=4096", "prefill_attention chunk=1..4096 context=0,8192",
               "decode_attention sequences=1..256 context=128..16384", "norm m=1..8192 width=4096", "all_reduce bytes=1KiB..1GiB ranks=4"):
        assert main(["price", "--hardware", "npu-base", "--op", op, "--json"]) == 0
        for row in json.loads(capsys.readouterr().out):
            assert row["seconds"] >= row["roofline_s"] * (1 - 1e-12), (op, row)


def test_decode_attention_in_pim_has_the_roofline_of_its_mac_commands(capsys):
    """Every command multiplies a 32 B column in all banks (64 in each of 16 channels of HBM3, 32 in each of 8 of HBM2) of 4
    stacks; the 4 query heads of a KV head each multiply it again."""
    op = "decode_attention sequences=64 context=4096 heads=32 kv_heads=8 head_dim=128"
    for name, banks, period_s in (("npu-pim", 4 * 16 * 64, 6 * 0.769e-9), ("neupims", 4 * 8 * 32, 2e-9)):
        assert main(["price", "--hardware", name, "--op", op, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        kv_bytes = 64 * 4096 * 2 * 8 * 128 * 2
        assert row["roofline_s"] == pytest.approx(kv_bytes * 4 / (banks * 32 / period_s))
        assert row["seconds"] > row["roofline_s"]


OPERATORS = ("gemm m=1,8192 n=4096 k=4096", "gemm m=16 n=4096 k=4096 weights=int4", "gemm m=64 n=8192 k=8192 dtype=fp8",
             "norm m=1,8192 width=4096", "prefill_attention chunk=1,2048 context=0,8192", "all_reduce bytes=1KiB,64MiB",
             "reduce_scatter bytes=64MiB", "all_to_all bytes=64MiB ranks=4", "p2p bytes=1MiB")


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "hardware").glob("*.yaml")))
def test_every_shipped_device_shows_itself_and_prices_every_operator(name, capsys):
    assert main(["hardware", name]) == 0
    shown = capsys.readouterr().out
    for fact in ("matrix peak, 16-bit", "memory", "links", "price", "power"):
        assert fact in shown
    for op in OPERATORS:
        assert main(["price", "--hardware", name, "--op", op, "--json"]) == 0
        for row in json.loads(capsys.readouterr().out):
            reduced_in_switch = op.startswith("all_reduce") and load_hardware(name, {}).link.in_network_reduction
            assert row["seconds"] >= row["roofline_s"] * (1 - 1e-12) or reduced_in_switch, (op, row)
            assert row["joules"] > 0


def test_tables_and_plot_are_written(tmp_path, capsys):
    plot = tmp_path / "gemm.html"
    assert main(["price", "--hardware", "h100-sxm", "--op", "gemm m=1..64 n=4096 k=4096", "--plot", str(plot)]) == 0
    assert "memory" in capsys.readouterr().out
    page = plot.read_text()
    assert "echarts" in page and '"name": "roofline"' in page and "gemm on h100-sxm" in page
    assert main(["price", "--hardware", "h100-sxm", "--op", "gemm m=1 n=4 k=4", "--plot", str(tmp_path / "gemm.png")]) == 2
    assert "must end in .html" in capsys.readouterr().err
    assert main(["hardware"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    names = {path.stem for path in (CONFIGS / "hardware").glob("*.yaml")}
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in names] == sorted(names)
    assert len(lines) == 7 + len(names)  # none wraps: four lines of head, three of foot
    assert main(["hardware", "npu-pim", "--set", "npu.arrays=4"]) == 0
    assert "die area" in capsys.readouterr().out


@pytest.mark.parametrize(("op", "says"), [
    ("gem m=1", "did you mean 'gemm'"), ("", "starts with the kind"), ("gemm m=1 n=4", "k: is missing"), ("gemm m=1 n=4 k=4 z=1", "unknown part"),
    ("gemm m=8..1 n=4 k=4", "reversed"), ("gemm m=0 n=4 k=4", "at least 1"), ("gemm m=x n=4 k=4", "whole number"), ("gemm m=1 m=2 n=4 k=4", "given twice"),
    ("gemm m=1 n=4 k=4 dtype=bf17", "did you mean 'bf16'"), ("gemm m=1..99999:1 n=4 k=4", "at most 10000"), ("all_reduce bytes=3 parsecs", "unknown part"),
    ("all_reduce bytes=3s", "wrong unit"), ("decode_attention sequences=1 context=1 heads=3 kv_heads=2", "not a multiple"),
])
def test_operators_that_make_no_sense_are_one_line(op, says, capsys):
    with pytest.raises(InputError, match=says):
        parse_operator(op)
    assert main(["price", "--hardware", "h100-sxm", "--op", op]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
