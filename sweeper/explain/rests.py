"""What the numbers of a study's designs rest on, and remarks on designs that beat shipped silicon: lines, one a device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from simulator.analysis.evidence import evidence
from simulator.design.records.hardware import Hardware
from simulator.inputs.errors import InputError
from simulator.silicon.limits import notes
from sweeper.space.space import Space
from sweeper.study.results import trial_design
from sweeper.study.trial import Trial

MOST = 6  # remarks in words; more are counted


def rests(space: Space, trials: Iterable[Trial]) -> list[str]:
    """'h100-sxm: time and power calibrated on measurements', a line for each hardware of the trials' designs."""
    return list(dict.fromkeys(f"{hardware.name}: {evidence(hardware)}" for _, hardware in _hardware(space, trials)))


def remarks(space: Space, trials: Iterable[Trial]) -> list[str]:
    """'trial 3: 2.9 TFLOP/s per W ...', what `simulator.silicon.limits` says of each design; equal hardware once."""
    lines: list[str] = []
    seen: set[str] = set()
    for trial, hardware in _hardware(space, trials):
        for note in notes(hardware):
            if note not in seen:
                seen.add(note)
                lines.append(f"trial {trial.number}: {note}")
    return lines if len(lines) <= MOST else [*lines[:MOST], f"and {len(lines) - MOST} more such remarks"]


def _hardware(space: Space, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Hardware]]:
    """Of each trial whose design the space still has."""
    for trial in trials:
        with contextlib.suppress(InputError):
            yield trial, trial_design(space, trial).hardware
