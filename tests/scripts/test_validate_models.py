"""`scripts/validate_models.py` on the shared configs, and on folders of its own."""

from __future__ import annotations

import json

from scripts.validate_models import main
from tests.shared import shared_file

LLAMA = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2,
         "vocab_size": 100, "max_position_embeddings": 512, "tie_word_embeddings": False}
# two tables, and in two layers: four attention matrices, three of the MLP, two norms; the last norm
LLAMA_PARAMETERS = 2 * 100 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64


def folder(tmp_path, configs, expected):
    for name, config in configs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    lines = "".join(f"{name},llama,{count},,2\n" for name, count in expected.items())
    (tmp_path / "expected.csv").write_text("model,model_type,text_parameters,class,layers\n" + lines)
    return str(tmp_path)


def test_every_shared_config_is_read_with_exact_parameters(tmp_path):
    rows = tmp_path / "rows.json"
    assert main([str(shared_file("data/model_configs")), "--json", str(rows)]) == 0
    found = {row["name"]: row["value"] for row in json.loads(rows.read_text())}
    assert found == {"models/read": 101, "models/refused_by_name": 0, "models/failed": 0, "parameters/mismatches": 0}


def test_refusals_and_mismatches_fail(tmp_path, capsys):
    many = {f"t5-{i}": {"model_type": "t5", "is_encoder_decoder": True} for i in range(3)}
    assert main([folder(tmp_path, {"a": LLAMA, **many}, {"a": LLAMA_PARAMETERS - 1})]) == 1
    out = capsys.readouterr().out
    assert "t5-0: refused: is_encoder_decoder: encoder-decoder models are not supported" in out
    assert f"a: {LLAMA_PARAMETERS:,} parameters, expected {LLAMA_PARAMETERS - 1:,} (+1)" in out


def test_a_small_model_is_exact(tmp_path):
    assert main([folder(tmp_path, {"a": LLAMA}, {"a": LLAMA_PARAMETERS})]) == 0
    assert main([str(tmp_path / "a")]) == 2
