"""The folders of YAML that ship with the project: inside an installed package, at the top of the repository in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[2]  # site-packages, or the repository


def shipped_folder(package: str, name: str) -> Path:
    """The folder `name` as `setup.py` puts it into `package`, else the repository's."""
    installed = PACKAGES / package / name
    return installed if installed.is_dir() else PACKAGES / name
