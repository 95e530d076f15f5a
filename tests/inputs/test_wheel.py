"""The wheel: it carries every shipped YAML, trace and page, and an installation of it works from any folder."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.shared import ROOT

pytestmark = pytest.mark.slow
SHIPPED = {"configs": "simulator/configs", "search_spaces": "sweeper/search_spaces",
           "sweeper/report/page": "sweeper/report/page"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: pip builds where the sources are."""
    source, out = tmp_path_factory.mktemp("source") / "project", tmp_path_factory.mktemp("wheel")
    source.mkdir()
    for name in ("configs", "search_spaces", "simulator", "sweeper"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md"):
        shutil.copy(ROOT / name, source / name)
    _ran([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)], out)
    return next(out.glob("*.whl"))


def test_every_shipped_file_is_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = [(folder, path.relative_to(ROOT / folder)) for folder in SHIPPED for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [f"{folder}/{path}" for folder, path in files if f"{SHIPPED[folder]}/{path.as_posix()}" not in packed] == []


@pytest.mark.ray
def test_an_installed_wheel_sweeps_by_name_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    _ran([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    packages = Path(_ran([str(python), "-c", "import site; print(site.getsitepackages()[0])"], tmp_path).strip())
    # the dependencies are those of this interpreter, without its editable install of the project
    (packages / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in site.getsitepackages()))
    _ran([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)], tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    found = _ran([str(python), "-c", "import simulator, sweeper; print(simulator.__file__, sweeper.__file__)"], empty)
    assert found.count(str(packages)) == 2
    for what, name in (("spaces", "npu_pim"), ("models", "llama-3.1-8b"), ("hardware", "h100-sxm"), ("workloads", "chat-1k")):
        assert name in _ran([str(python), "-m", "sweeper", what], empty)
    assert "TTFT" in _ran([str(python), "-m", "simulator", "run", "npu-chat", "--set", "workload.requests=50"], empty).upper()
    _ran([str(python), "-m", "sweeper", "run", "npu_pim", "--trials", "24", "--workers", "1"], empty)
    assert (empty / "runs" / "npu_pim" / "report.html").stat().st_size > 100_000


def _ran(command: list[str], folder: Path) -> str:
    """Its output; PYTHONPATH would lead back to the repository."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **_passed_on()})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _passed_on() -> dict[str, str]:
    """Settings of pip: which index it may use."""
    return {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")}
