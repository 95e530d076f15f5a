"""A model that a CPU profiles in seconds."""

from simulator.design.load import resolve

TINY = {"name": "tiny", "layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "intermediate": 128,
        "gated_mlp": True, "vocab": 256, "max_positions": 256}


def tiny():
    return resolve({"model": TINY, "hardware": "h100-sxm", "workload": "chat-200"}).model
