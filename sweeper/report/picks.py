"""The designs of a front to look at first: the best of each objective, and the compromise between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.space.objectives import Objective
from sweeper.study.front import best_trial, knee, points
from sweeper.study.trial import Trial

KNEE = "compromise"
KNEE_RULE = ("nearest to the ideal point, which is the best of every objective at once: each objective is scaled to 0 (best on "
             "the front) .. 1 (worst on the front), by its logarithm where it spans more than a factor of ten, and the "
             "Euclidean distance is the least (compromise programming; Zeleny, 1973)")


@dataclass(frozen=True)
class Pick:
    """A design and why it is recommended: `compromise`, or the names of the objectives that it is the best of."""

    trial: Trial
    roles: tuple[str, ...]


def picks(front: Sequence[Trial], objectives: Sequence[Objective]) -> list[Pick]:
    """The compromise first (with two objectives or more), then the best of each objective; each design once."""
    roles: dict[int, list[str]] = {}
    named = {trial.number: trial for trial in front}
    if len(objectives) > 1 and len(front) > 2:
        roles.setdefault(front[knee(points(front, objectives))].number, []).append(KNEE)
    for objective in objectives:
        best = best_trial(front, objective)
        if best is not None:
            roles.setdefault(best.number, []).append(objective.name)
    return [Pick(named[number], tuple(said)) for number, said in roles.items()]


def spread(front: Sequence[Trial], chosen: Sequence[Trial], most: int) -> list[Trial]:
    """`chosen` and designs evenly along the front, at most `most` of them unless more are chosen; in the front's order."""
    kept = {trial.number for trial in chosen}
    others = [trial for trial in front if trial.number not in kept]
    room = min(max(most - len(kept), 0), len(others))
    kept |= {others[round(i * (len(others) - 1) / max(room - 1, 1))].number for i in range(room)}
    return [trial for trial in front if trial.number in kept]
