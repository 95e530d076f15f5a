"""Small profile bundles and recorded runs in LLMServingSim's and the recorder's formats, with made-up times."""

import csv
import json
from pathlib import Path

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
LAYERS = ("embedding", "layernorm", "qkv_proj", "qk_norm", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj",
          "final_layernorm")
NO_MLP = {"gate_up_proj", "act_fn", "down_proj"}
GEMMS = {"qkv_proj": 40, "o_proj": 30, "gate_up_proj": 120, "down_proj": 60}


def write_rows(path: Path, header: str, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def write_bundle(folder: Path, model: str, *, tensors=(1,), experts: tuple[int, int] | None = None) -> Path:
    """experts: (how many, picked per token) for a bundle with moe.csv in tp1/ alone, as the profiler writes it."""
    folder.mkdir(parents=True)
    (folder / "meta.yaml").write_text(f"vllm_version: 0.19.0\ngpu: NVIDIA RTX PRO 6000 Blackwell Server Edition\nmodel: {model}\n"
                                      "measurement_iterations: 3\nengine_effective: {block_size: 16}\n")
    for tensor in tensors:
        at = folder / f"tp{tensor}"
        names = [name for name in LAYERS if experts is None or name not in NO_MLP]
        write_rows(at / "dense.csv", "layer,tokens,time_us",
                   [(name, t, (GEMMS[name] / tensor if name in GEMMS else 3) * max(1, t / 128) + 2) for name in names for t in TOKENS])
        write_rows(at / "per_sequence.csv", "layer,sequences,time_us",
                   [(name, n, cost + n / 10) for name, cost in (("lm_head", 500 / tensor), ("sampler", 25)) for n in TOKENS[:8]])
        attention = [(0, 0, n, kv, 5 + n * kv / 2000 / tensor) for n in (1, 8, 64, 256) for kv in (16, 1024, 16384)]
        attention += [(c, kv, 0, 0, 5 + c * (c + kv) / 20000 / tensor) for c in (16, 256, 2048) for kv in (0, 1024, 16384)]
        attention += [(c, 0, n, kv, 5 + c * c / 20000 + n * kv / 1000) for c in (16, 2048) for n in (1, 64) for kv in (16, 16384)]
        write_rows(at / "attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us", attention)
    if experts is not None:
        count, each = experts
        write_rows(folder / "tp1" / "moe.csv", "tokens,activated_experts,time_us",
                   [(t, a, 20 + a * 6 + t * each / 50) for t in TOKENS for a in (2**i for i in range(count.bit_length()))
                    if each <= a <= min(count, t * each)])
    return folder


def write_run(folder: Path, model: str, *, tensor: int = 1, requests: int = 6, instances: int = 1, **engine) -> Path:
    """Requests of 100 prompt and 20 output tokens every 50 ms."""
    folder.mkdir(parents=True)
    kwargs = {"model": model, "tensor_parallel_size": tensor, "max_num_seqs": 64, "max_num_batched_tokens": 2048,
              "max_model_len": 4096, "enable_expert_parallel": False, **engine}
    (folder / "meta.json").write_text(json.dumps({"model": model, "vllm_version": "0.19.0", "engine_kwargs": kwargs}))
    (folder / "cluster.json").write_text(json.dumps({"link_bw": 16, "link_latency": 20000, "nodes": [
        {"instances": [{"hardware": "RTXPRO6000", "tp_size": tensor, "pd_type": None}] * instances}]}))
    (folder / "requests.jsonl").write_text("\n".join(json.dumps(
        {"request_id": f"bench-{i}", "input_toks": 100, "output_toks": 20, "queued_ts": i * 0.05,
         "first_token_ts": i * 0.05 + 0.03, "last_token_ts": i * 0.05 + 0.5}) for i in range(requests)))
    return folder
