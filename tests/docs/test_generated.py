"""The generated parts of the docs are as the code has them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts.make_docs import DOCS, PAGES, PARTS, rendered
from simulator.results.metrics import METRICS
from sweeper.space.expressions.symbols import design_symbols


@pytest.mark.parametrize("page", PAGES)
def test_generated_parts_are_fresh(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert rendered(text) == text, "run: python scripts/make_docs.py"


def test_the_script_says_so() -> None:
    done = subprocess.run([sys.executable, DOCS.parent / "scripts" / "make_docs.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "all parts are as the code has them\n")


def test_every_metric_and_design_key_is_told() -> None:
    metrics, keys = PARTS["metrics"](), PARTS["design keys"]()
    assert all(f"`{name}" in metrics or name.rpartition("_")[0] in metrics for name in METRICS)
    for key in ("parallelism.tensor", "hardware.npu.array", "hardware.pim.stacks_per_npu", "serving.max_num_seqs", "slo.ttft"):
        assert key in design_symbols() and f"`{key}`" in keys
