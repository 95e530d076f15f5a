"""`python -m sweeper validate SPACE`: checks a search space without running it and says what it spans."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from pathlib import Path

from rich.console import Console

from sweeper.judge import check
from sweeper.space import Space, describe
from sweeper.space_file import load_space

SAMPLED = 500  # points drawn to estimate the illegal share


def validate(path: str | Path) -> None:
    """Prints size, illegal share and the first designs. Raises InputError for a space that cannot be swept."""
    space = load_space(path)
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
