"""The description of the measuring machine in a table's metadata: names, versions and clocks."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any


def device_name(torch: Any, device: str) -> str:
    """The GPU as its driver names it, or the CPU with the threads that PyTorch uses."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{_cpu()}, {torch.get_num_threads()} threads"


def clocks(device: str) -> str:
    """SM and memory clock now, and the power limit, from nvidia-smi; empty where there is none."""
    if device != "cuda" or shutil.which("nvidia-smi") is None:
        return ""
    query = "clocks.sm,clocks.mem,clocks.max.sm,power.limit,driver_version"
    done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        return ""
    sm, memory, most, power, driver = (word.strip() for word in done.stdout.strip().splitlines()[0].split(",")[:5])
    return f"SM {sm} of {most}, memory {memory}, limit {power}, driver {driver}"


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "CPU")
