"""Reading the shared reference data: found through LLMSIM_SHARED, skipped where absent, required under CI."""

import csv
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_file(relative):
    """Path of a shared data file. Without it the test is skipped, or fails where CI is set."""
    path = Path(os.environ.get("LLMSIM_SHARED", ROOT.parent / "shared")) / relative
    if not path.exists():
        message = f"shared data not found: {path} (set LLMSIM_SHARED)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def shared_rows(relative):
    """Rows of a shared CSV as dictionaries of text."""
    with shared_file(relative).open(newline="") as file:
        return list(csv.DictReader(file))
