"""`scripts/validate_kv_logs.py`: which logs it judges, and what it does with the others."""

import json

from scripts.validate_kv_logs import main
from tests.shared import shared_file

HEAD = ("model,precision,kv_dtype,gpu,tp,engine,gpu_memory_utilization,max_model_len,kv_gib_per_gpu,kv_tokens,kv_blocks\n")


def rows(tmp_path, text):
    file, out = tmp_path / "logs.csv", tmp_path / "rows.json"
    file.write_text(HEAD + text)
    code = main([str(file), "--json", str(out)])
    return code, {row["name"]: row for row in json.loads(out.read_text())}


def test_a_recorded_pool_is_predicted_within_the_bar(tmp_path):
    """Llama-3.1-8B on an RTX 4090, vLLM 0.19 (shared data, vllm_runs/README.md): 2,588 blocks, graphs charged by option."""
    code, found = rows(tmp_path, "Llama-3.1-8B,bf16,bf16,RTX 4090,1,vLLM 0.19.0,0.90,32768,,,2588\n")
    row = found["kv_logs/llama-3-1-8b-rtx-4090-vllm-0-19-0/error_pct"]
    assert code == 0 and row["ok"] and abs(row["value"]) < 3


def test_old_engines_are_printed_and_unknown_names_counted(tmp_path):
    code, found = rows(tmp_path, "Llama-3.1-8B,bf16,bf16,H100 80GB,1,vLLM 0.6.4,0.90,8192,1.0,,\n"
                                 "Nonesuch-9B,bf16,bf16,H100 80GB,1,vLLM 0.20,0.90,8192,1.0,,\n")
    assert code == 0
    assert found["kv_logs/llama-3-1-8b-h100-80gb-vllm-0-6-4/error_pct"]["ok"] is None
    assert found["kv_logs/skipped/model without a configuration at hand"]["value"] == 1
    assert found["kv_logs/expressed_pct"]["value"] == 50


def test_the_shared_file_is_read(capsys):
    assert main([str(shared_file("data/published/kv_capacity_points.csv.gz"))]) in (0, 1)
    assert "kv_logs/expressed_pct" in capsys.readouterr().out
