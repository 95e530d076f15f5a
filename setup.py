"""Adds the shipped YAML to the wheel: `configs/` and `search_spaces/` stand at the top of the repository, and inside the packages
where those are installed (`simulator.inputs.shipped` finds them in both places). Everything else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = {"configs": "simulator/configs", "search_spaces": "sweeper/search_spaces"}
ROOT = Path(__file__).resolve().parent


class BuildWithData(build_py):
    """Copies the folders into the build, except for an editable install, which uses the repository's own."""

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        for source, target in SHIPPED.items():
            built = Path(self.build_lib) / target
            shutil.rmtree(built, ignore_errors=True)  # what an earlier build left
            shutil.copytree(ROOT / source, built)


setup(cmdclass={"build_py": BuildWithData})
