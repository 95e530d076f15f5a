"""The standing invariants: 300 random designs and 300 malformed files in CI; the scripts run more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts import fuzz_designs
from tests.shared import ROOT

pytestmark = pytest.mark.slow


def test_random_designs_hold_every_invariant():
    found = fuzz_designs.campaign(300, seed=0)
    assert found.failures == []
    assert found.kinds["served"] > 150
    assert all(found.checked[name] > 100 for name in fuzz_designs.CHECKS)


def test_malformed_files_end_in_a_line():
    """In a process of its own: a child is measured from the memory that its parent had."""
    done = subprocess.run([sys.executable, "scripts/fuzz_inputs.py", "--count", "300"], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300" in done.stdout


def test_a_failure_is_shrunk_to_what_it_needs(monkeypatch):
    """An invariant that no design with two replicas holds: the command has that key alone."""
    monkeypatch.setattr(fuzz_designs, "CHECKS", {"one": lambda design, *_: "two" if design.parallelism.replicas == 2 else ""})
    said = ["workload.requests=5", "parallelism.replicas=2", "serving.block_size=32", "serving.max_num_seqs=7"]
    assert fuzz_designs.shortest("npu-chat", said, "one") == ["parallelism.replicas=2"]
