"""`scripts/validate_kv_capacity.py` on the shared table, and on a table with a mistake."""

from __future__ import annotations

import gzip
import json

from scripts.validate_kv_capacity import main
from tests.shared import shared_file


def test_every_recorded_row_is_equal(tmp_path):
    rows = tmp_path / "rows.json"
    assert main([str(shared_file("oracle/vllm_kv_capacity")), "--json", str(rows)]) == 0
    assert json.loads(rows.read_text())[1] == {"name": "kv_capacity/mismatches", "value": 0.0, "unit": "rows", "goal": "<= 0 rows",
                                               "ok": True}


def test_a_wrong_row_and_an_unknown_key_fail(tmp_path, capsys):
    table = json.loads(gzip.decompress(shared_file("oracle/vllm_kv_capacity/table.json.gz").read_bytes()))
    good = next(row for row in table["rows"] if "error" not in row)
    refused = next(row for row in table["rows"] if "error" in row)
    wrong = {**table, "rows": [good, {**good, "num_blocks": 1}, {**good, "swap": 1}, {**refused, "memory_bytes": 10**13}]}
    (tmp_path / "table.json.gz").write_bytes(gzip.compress(json.dumps(wrong).encode()))
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"num_blocks {good['num_blocks']}, recorded 1" in out and "unknown key 'swap'" in out
    assert "fits, recorded: does not fit" in out and "1 of 4 rows equal" in out
    assert main([str(tmp_path / "nowhere")]) == 2
