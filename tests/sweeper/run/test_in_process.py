"""`--workers 0`: the driver simulates, without Ray, the same trials as workers do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.__main__ import main
from sweeper.study import ledger
from tests.sweeper.spaces import OBJECTIVES

PARAMETERS = """parameters:
  parallelism.tensor: {ordinal: [1, 2, 3]}
  serving.max_num_seqs: {ordinal: [16, 32, 64]}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(f"name: small\ndesign: {{base: npu-chat, workload: chat-200}}\n{PARAMETERS}{OBJECTIVES}baselines: {{one: {{}}}}\n")
    return path


def trials(folder: Path) -> list[str]:
    """Without what depends on the worker."""
    _, found = ledger.read(folder / "trials.jsonl")
    return sorted(json.dumps({**vars(trial), "worker": "", "seconds": 0.0}, sort_keys=True) for trial in found)


def test_no_ray_is_imported(space, tmp_path):
    code = (f"import sys; from sweeper.__main__ import main; assert main(['run', {str(space)!r}, '--workers', '0', '--out', "
            f"{str(tmp_path / 'out')!r}, '--quiet']) == 0; assert 'ray' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert len(trials(tmp_path / "out")) == 10


@pytest.mark.ray
@pytest.mark.parametrize("sampler", ["exhaustive", "tpe", "gp"])
def test_trials_are_those_of_workers(sampler, space, tmp_path, ray_cluster):
    for workers in ("0", "2"):
        assert main(["run", str(space), "--sampler", sampler, "--trials", "8", "--deterministic", "--workers", workers, "--out",
                     str(tmp_path / workers), "--quiet"]) == 0
    assert trials(tmp_path / "0") == trials(tmp_path / "2")
    assert (tmp_path / "0" / "pareto.csv").read_bytes() == (tmp_path / "2" / "pareto.csv").read_bytes()


def test_an_interrupted_study_goes_on_in_process(space, tmp_path):
    out = str(tmp_path / "out")
    assert main(["run", str(space), "--sampler", "random", "--trials", "4", "--workers", "0", "--out", out, "--quiet"]) == 0
    assert main(["resume", out, "--trials", "7", "--workers", "0", "--quiet"]) == 0
    assert len(trials(tmp_path / "out")) == 7


def test_a_folder_removed_under_a_sweep_ends_it_and_is_there_again(space, tmp_path, monkeypatch, capsys):
    import shutil

    from sweeper.workers.in_process import InProcess

    out, collect = tmp_path / "out", InProcess.collect

    def removing(self, timeout_s):
        found = collect(self, timeout_s)
        shutil.rmtree(out, ignore_errors=True)
        monkeypatch.setattr(InProcess, "collect", collect)
        return found

    monkeypatch.setattr(InProcess, "collect", removing)
    monkeypatch.setattr(ledger, "SYNC_SECONDS", 0.0)
    assert main(["run", str(space), "--sampler", "random", "--trials", "6", "--workers", "0", "--out", str(out), "--quiet"]) == 2
    assert "was removed while the sweep ran; what had finished is there again" in capsys.readouterr().err
    assert len(trials(out)) >= 1
    assert main(["resume", str(out), "--workers", "0", "--quiet"]) == 0
    assert len(trials(out)) == 6  # of six designs and a baseline
