"""The findings of a report beyond the sweep's own results, from simulating a few more designs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.explain.against import Comparison, comparisons
from sweeper.report.anatomy import Anatomy, anatomies
from sweeper.report.importance import Importance, importances, own_rows, sample
from sweeper.report.picks import Pick, picks, spread
from sweeper.report.simulations import Budget, Simulations, seconds_each
from sweeper.report.slices import Slice, slices
from sweeper.space.space import Space
from sweeper.study.digest import Digest
from sweeper.study.ledger import Header
from sweeper.study.trial import Trial

MAX_ANATOMIES = 12  # designs of the front whose time is broken down
MAX_SLICED = 3  # designs that what-if slices go through
MIN_TRIALS = 100  # below which a study is too small for a sample of its own size


@dataclass(frozen=True)
class Extras:
    """`picks`: the designs to look at first. The notes say what was left out and why, or what the sample is."""

    picks: list[Pick]
    against: dict[int, list[Comparison]]  # of each pick, by number: with every baseline, as it is and at equal settings
    anatomies: list[Anatomy]
    slices: list[Slice]
    slices_note: str
    importances: list[Importance]
    sample_note: str


def extras(folder: Path, space: Space, header: Header, found: Digest, summary: Mapping[str, Any], budget_s: float) -> Extras:
    """Simulates for at most about `budget_s`: the chosen designs, then slices around them, then a random sample."""
    budget = Budget(budget_s, seconds_each(found.kept))
    chosen = picks(found.front, space.objectives)
    tops = [pick.trial for pick in chosen]
    baselines = [t for t in found.kept if t.baseline and t.status == "complete"]
    others = [t for t in (*spread(found.front, tops, MAX_ANATOMIES), *baselines) if t.number not in {top.number for top in tops}]
    against = _against(space, chosen, [t for t in found.kept if t.baseline], budget)
    parts = anatomies(space, [*tops, *others], [*tops, *baselines], budget)
    simulations = Simulations(folder, space)
    sliced, slices_note = slices(space, chosen[:MAX_SLICED], simulations, budget)
    rows, sample_note = _sample(space, header, found, summary, simulations, budget)
    simulations.save()
    if rows and budget_s > 0 and budget.left_s < 0:  # the evaluators take seconds of their own
        rows, sample_note = [], "left out at the end of a short sweep; `python -m sweeper report DIR` computes them"
    return Extras(chosen, against, parts, sliced, slices_note, importances(space, rows) if rows else [], sample_note)


def _against(space: Space, chosen: list[Pick], baselines: list[Trial], budget: Budget) -> dict[int, list[Comparison]]:
    """Where the budget does not allow to simulate baselines again, as they are alone."""
    found: dict[int, list[Comparison]] = {}
    for trial in (pick.trial for pick in chosen):
        again = budget.allows(len(baselines))
        found[trial.number] = [one for _, each in comparisons(space, trial, baselines, again=again) for one in each]
    return found


def _sample(space: Space, header: Header, found: Digest, summary: Mapping[str, Any], simulations: Simulations,
            budget: Budget) -> tuple[list[Trial], str]:
    """(designs that no search has chosen, what they are in words; or why there are none)."""
    sampler = header.settings.get("sampler")
    if found.count < MIN_TRIALS:
        return [], f"not computed: the study has {found.count} trials, too few (fewer than {MIN_TRIALS})"
    if sampler in ("random", "qmc") or (sampler == "exhaustive" and summary.get("end") == "exhausted"):
        rows = own_rows(found)
        what = "all designs of the space" if sampler == "exhaustive" else f"the study's own trials, which are {sampler} points"
        return rows, f"{len(rows)} of {what} (evenly chosen among those with a result)"
    return sample(space, simulations, budget)
