"""`python -m sweeper validate SPACE` checks a search space without running it and says what it spans."""

from __future__ import annotations

import random
from argparse import Namespace
from collections import Counter
from itertools import islice
from pathlib import Path

from rich.console import Console

from simulator.design.load import parse_override
from sweeper.run.screen import clock
from sweeper.space.file import load_space
from sweeper.space.space import Space, describe
from sweeper.workers.cores import usable_cores
from sweeper.workers.evaluator import measured_seconds
from sweeper.workers.verdict import check

SAMPLED = 500  # points drawn to estimate the illegal share


START_SECONDS = 8.0  # of Ray, workers and MLflow on a small machine, measured: what even an empty sweep takes


def command(args: Namespace) -> int:
    """`validate SPACE`, with overrides."""
    validate(args.space, dict(parse_override(text) for text in args.overrides))
    return 0


def validate(path: str | Path, overrides: dict[str, object] | None = None) -> None:
    """Prints size, illegal share, first designs and what a sweep will take. Raises InputError for a space that cannot be
    swept."""
    space = load_space(path, overrides or {})
    console = Console(soft_wrap=True, highlight=False, markup=False)
    size = space.size()
    console.print(f"{space.name}: {len(space.parameters)} parameters, "
                  f"{f'{size:,}' if size is not None else 'unboundedly many'} designs, "
                  f"{len(space.objectives)} objectives, {len(space.constraints)} constraints, "
                  f"{len(space.baselines)} baselines")
    for objective in space.objectives:
        console.print(f"  {objective.direction} {objective.label}")
    for constraint in space.constraints:
        when = "before simulation" if constraint.expression.static else "after simulation"
        console.print(f"  constraint {constraint.expression.text} ({when})")
    illegal, drawn, reasons = illegal_share(space)
    console.print(f"ruled out without simulation: {illegal / drawn:.0%} of {drawn} sampled designs"
                  + "".join(f"\n  {count / drawn:.0%} {name}" for name, count in reasons.most_common(5)))
    console.print("first designs:")
    for values in _first(space):
        console.print(f"  {describe(values)}")
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        "simulating some designs to see how long they take; the first time, the engine is compiled (20-40 s) ...", style="dim")
    for line in estimate(space, measured_seconds(space), illegal / drawn):
        console.print(line)


def estimate(space: Space, seconds_per_design: float, illegal_share: float) -> list[str]:
    """What a sweep takes: `seconds_per_design` on one core, `illegal_share` of the designs without simulation."""
    workers = space.study.workers or usable_cores()
    trials, size = space.study.trials, space.size()
    lines = [f"one design takes about {seconds_per_design * 1e3:.3g} ms here (mean of 12 sampled ones, after compilation)"]
    if size is not None and size * (1 - illegal_share) <= trials:
        trials = round(size * (1 - illegal_share))
    took = clock(START_SECONDS + trials * seconds_per_design / workers)
    lines.append(f"a sweep of {trials:,} designs on {workers} workers: about {took}, {START_SECONDS:.0f} s of it to start and end")
    if size is not None and size > trials:
        full_s = START_SECONDS + size * (1 - illegal_share) * seconds_per_design / workers
        lines.append(f"every legal design (--sampler exhaustive): about {clock(full_s)}")
    return lines


def illegal_share(space: Space) -> tuple[int, int, Counter[str]]:
    """(illegal, drawn, illegal by violated constraint) over a fixed pseudo-random sample of the space."""
    rng = random.Random(0)
    reasons: Counter[str] = Counter()
    for _ in range(SAMPLED):
        verdict = check(space, space.sample(rng)).verdict
        if verdict is not None:
            reasons[max(verdict.constraints, key=lambda name: verdict.constraints[name])] += 1
    return sum(reasons.values()), SAMPLED, reasons


def _first(space: Space) -> list[dict[str, object]]:
    if any(p.domain.count is None for p in space.parameters):
        rng = random.Random(1)
        return [space.sample(rng) for _ in range(3)]
    return list(islice(space.enumerate(), 3))
