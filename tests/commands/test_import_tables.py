import json

import pytest

from simulator.__main__ import main
from simulator.devices.measured.parquet import read_table


def gemms(path, seconds, rows=(1, 16, 64)):
    lines = ["kind,n,k,weight_bits,activation_bits,rows,seconds"]
    lines += [f"gemm,4096,4096,16,16,{r},{s}" for r, s in zip(rows, seconds, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def test_own_columns_are_completed_ordered_checked_and_reported(tmp_path, capsys):
    gemms(tmp_path / "tp1.csv", [5e-6, 30e-6, 21e-6], rows=(64, 16, 1))
    (tmp_path / "meta.yaml").write_text("device: NVIDIA H100 SXM\nframework: torch 2.13\nhardware: h100-sxm\n")
    assert main(["import", "parquet", str(tmp_path), str(tmp_path / "out")]) == 0
    table = read_table(tmp_path / "out/tp1.parquet")
    assert table.columns["rows"].tolist() == [1, 16, 64] and table.meta["framework"] == "torch 2.13"
    report = json.loads((tmp_path / "out/tp1.report.json").read_text())
    assert report["content_hash"] == table.content_hash and report["rows"] == {"gemm": 3}
    assert [(f["check"], f["count"]) for f in report["findings"]] == [("below roofline", 1)]  # 33.5 MB in 5 us
    assert "below roofline" in capsys.readouterr().out


def test_a_hole_in_a_grid_is_told(tmp_path):
    lines = ["kind,heads,kv_heads,head_dim,kv_bits,activation_bits,sequences,decode_context,seconds"]
    lines += [f"decode_attention,32,8,128,16,16,{b},{c},{1e-5 + 2e-10 * b * c}" for b in (1, 8, 64) for c in (16, 1024, 4096)
              if (b, c) not in ((8, 1024), (64, 4096))]  # the second is the corner that memory forbids, no hole
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    assert main(["import", "parquet", str(tmp_path / "t.csv"), str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out/t.report.json").read_text())["findings"]
    assert [(f["check"], f["count"], f["example"]) for f in found] == [("holes", 1, "nothing at sequences=8, decode_context=1024")]


@pytest.mark.parametrize(("arguments", "said"), [
    (["import", "vidor", "x", "y"], "did you mean 'vidur'"),
    (["import", "vidur", "/nowhere", "y"], "no such file or folder"),
    (["import", "vidur", "/usr", "y"], "--model: no preset in configs/models for 'usr'"),
    (["import", "parquet", "{bad}", "y"], "second: is no column of an operator table: did you mean 'seconds'?"),
])
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, said):
    (tmp_path / "bad.csv").write_text("kind,second\ngemm,1\n")
    assert main([a.replace("{bad}", str(tmp_path / "bad.csv")) for a in arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error
