"""`scripts/validate_defaults.py` against the recorded defaults, and what it says of a difference."""

import json

from scripts.validate_defaults import main
from tests.shared import shared_file


def test_no_default_differs_from_what_vllm_gave(tmp_path):
    out = tmp_path / "rows.json"
    assert main([str(shared_file("oracle/vllm_defaults")), "--json", str(out)]) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert rows["defaults/mismatches"]["value"] == 0
    assert rows["defaults/oracle_compared"]["value"] >= 90


def test_a_difference_is_printed_and_counted(tmp_path, capsys):
    (tmp_path / "defaults-0.24.1.json").write_text(json.dumps({
        "vllm": "0.24.1", "rows": [{"device": "B200", "memory_gib": 178.4, "OPENAI_API_SERVER": [16384, 1024], "LLM_CLASS": [16384, 1024]}],
        "fields": {"watermark": "FieldInfo(annotation=NoneType, required=False, default=0.0, metadata=[])"}, "cache": {}}))
    assert main([str(tmp_path)]) == 1
    assert "oracle: vllm 0.24.1, B200, server: expected (16384, 1024), got (8192, 1024)" in capsys.readouterr().out


def test_a_folder_without_defaults_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no defaults-VERSION.json" in capsys.readouterr().err
