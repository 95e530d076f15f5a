"""The exactness of a number in words: half-widths next to values, ties, and whether a difference exceeds the noise."""

from __future__ import annotations

import numpy as np

from simulator.analysis.confidence import half_width
from simulator.analysis.confidence import shown as shown_width
from sweeper.space.space import Space
from sweeper.study.digest import Digest
from sweeper.study.front import signs
from sweeper.study.results import ties_both_ways
from sweeper.study.ties import differences, measured
from sweeper.study.trial import Trial

LISTED = 8  # trials named in a line


def shown(trial: Trial, objective: str) -> str:
    """'4.23 ± 0.093'; the value alone without replicates, and where it does not vary."""
    value, width = trial.objectives[objective], trial.half_width(objective)
    return f"{value:.4g} ± {shown_width(width)}" if width > 0 else f"{value:.4g}"


def listed(numbers: list[int], most: int = LISTED) -> str:
    """'3 17 20 ...'."""
    return " ".join(map(str, numbers[:most])) + (" ..." if len(numbers) > most else "")


def noise_lines(space: Space, found: Digest) -> list[str]:
    """What a study with replicates says of its front as a whole; nothing of one without."""
    if space.replicates == 1:
        return []
    lines = [f"± is half of a 95 % confidence interval over {space.replicates} replicates"]
    if found.near:
        ties = ties_both_ways(found)
        pairs = ", ".join(f"{t.number} ({listed(ties[t.number], 3)})" for t in found.near[:LISTED])
        lines.append(f"behind the front only within the noise: {len(found.near)} designs (and what they tie with): {pairs}"
                     + (", ..." if len(found.near) > LISTED else ""))
    unsure = [t for t in found.front if t.unsure]
    if unsure:
        lines.append("on the front, but a constraint may be missed as well as met: " + ", ".join(
            f"{t.number} ({', '.join(t.unsure)})" for t in unsure[:LISTED]) + (", ..." if len(unsure) > LISTED else ""))
    return lines


def objective_noise(space: Space, a: Trial, b: Trial) -> dict[str, float]:
    """Half-widths of the differences between two trials' objectives, which hold together with 95 %; empty without
    replicates of all objectives in both."""
    names = [o.name for o in space.objectives]
    if space.replicates == 1 or not all(name in t.replicates for t in (a, b) for name in names):
        return {}
    left, right = (measured([[t.objectives[n] for n in names]], [[t.replicates[n] for n in names]], signs(space.objectives))
                   for t in (a, b))
    return dict(zip(names, differences(left, right)[1][0].tolist(), strict=True))


def metric_noise(a: Trial, b: Trial, metric: str) -> float | None:
    """Half-width (95 %) of the difference between two trials' metric; None where their replicates were not kept."""
    if metric not in a.samples or metric not in b.samples:
        return None
    return half_width((np.array(b.samples[metric]) - np.array(a.samples[metric])).tolist())


def verdict(difference: float, width: float | None) -> str:
    """'beyond ± 0.1' or 'within ± 0.1'; '' where nothing is known or nothing varies."""
    if width is None or not width:
        return ""
    return f"{'beyond' if abs(difference) > width else 'within'} ± {shown_width(width)}"
