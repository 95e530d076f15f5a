"""The simulations that a report adds to a study: within a time budget, and kept in the study's folder."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.inputs.errors import InputError
from simulator.inputs.files import parse_json, read_text
from simulator.pricing.cache import code_version
from sweeper.space.space import Space
from sweeper.study.trial import Trial, check_trial, from_json_line
from sweeper.workers.evaluator import SimEvaluator
from sweeper.workers.worker import Task, run_task

FILE_NAME = "report_trials.jsonl"  # a line says whose they are, then one trial a line


class Budget:
    """Seconds that may still be spent. A step that is expected to take longer is not begun."""

    def __init__(self, seconds: float, seconds_each: float) -> None:
        self._until_s = time.monotonic() + seconds
        self.seconds_each = seconds_each  # of one simulation, as the sweep measured it

    @property
    def left_s(self) -> float:
        return self._until_s - time.monotonic()

    def allows(self, simulations: int) -> bool:
        """Whether so many more fit."""
        return simulations * self.seconds_each <= self.left_s


def seconds_each(trials: Sequence[Trial]) -> float:
    """What one simulation took, the median over trials with a result; 0.02 s where none has one."""
    spent = [t.seconds for t in trials if t.objectives and not t.cached and t.seconds > 0]
    return statistics.median(spent) if spent else 0.02


class Simulations:
    """Points of the space simulated for the report. A second report finds them in the folder, unless the code has changed."""

    def __init__(self, folder: Path, space: Space) -> None:
        self._path, self._space = folder / FILE_NAME, space
        self._evaluator: SimEvaluator | None = None
        self._head = {"report_trials": {"space_hash": space.hash, "code_version": code_version()}}
        self._known = self._read()
        self._new: list[Trial] = []

    def known(self, point: Mapping[str, Any]) -> bool:
        """Whether the canonical point needs no simulation."""
        return self._space.key(point) in self._known

    def at(self, point: dict[str, Any]) -> Trial:
        """The judged trial of a canonical point."""
        key = self._space.key(point)
        if key not in self._known:
            if self._evaluator is None:
                self._evaluator = SimEvaluator(self._space, {})
            self._known[key] = run_task(self._evaluator, Task(len(self._known), point))
            self._new.append(self._known[key])
        return self._known[key]

    def save(self) -> None:
        """Writes what is new; a folder that cannot be written costs the next report the same time, no more."""
        if not self._new:
            return
        lines = [json.dumps(self._head), *(trial.to_json_line() for trial in self._known.values())]
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
        fresh.replace(self._path)
        self._new = []

    def _read(self) -> dict[str, Trial]:
        """Those of an earlier report; nothing where the file is of another space or code, or damaged."""
        try:
            head, *lines = read_text(self._path).splitlines()
            if parse_json(head) != self._head:
                return {}
            trials = [from_json_line(line) for line in lines]
            for trial in trials:
                check_trial(trial, [objective.name for objective in self._space.objectives])
        except (ValueError, InputError):
            return {}
        return {self._space.key(trial.parameters): trial for trial in trials}
