"""A trial of a study by what a person calls it."""

from __future__ import annotations

from simulator.inputs.errors import InputError
from sweeper.study.digest import Digest
from sweeper.study.trial import Trial


def found_trial(found: Digest, name: str) -> Trial:
    """The trial of that number, or of a baseline of that name. Raises InputError."""
    for trial in found.trials():
        if name in (str(trial.number), trial.baseline):
            return trial
    known = ", ".join(str(t.number) for t in found.front[:8])
    raise InputError(f"no trial '{name}'" + (f"; on the front are {known}" if known else ""), file=str(found.path.parent))
