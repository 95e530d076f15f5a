"""The text at the end of a sweep: how it went, the front, where everything is, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulator.silicon.money import BASIS_TEXT
from sweeper.commands.noise import listed, noise_lines, shown
from sweeper.explain.against import comparisons, said
from sweeper.explain.rests import remarks, rests
from sweeper.explain.why import devices, why
from sweeper.run.screen import clock
from sweeper.space.parameters import label
from sweeper.space.space import Space
from sweeper.study.ending import Ending
from sweeper.study.front import best_trial, dominates, points
from sweeper.study.results import evenly, ties_both_ways
from sweeper.study.settings import SweepSettings
from sweeper.study.trial import Trial

WIDE = 120  # columns of a terminal that has room for parameters next to the objectives
SHOWN = 12  # designs of the front on the terminal; pareto.csv has all

_ENDS = {
    "complete": "done",
    "exhausted": "done: every design of the space was evaluated, or none was left that could be proposed",
    "timeout": "stopped by --timeout",
    "interrupted": "interrupted",
    "failing": "stopped: designs fail one after the other",
}


def print_ending(console: Console, folder: Path, space: Space, settings: SweepSettings, ending: Ending) -> None:
    """Prints the end of a sweep to stdout."""
    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=not console.is_terminal)

    s = ending.summary
    say(f"{_ENDS[ending.why]}: {s['trials']} trials ({s['feasible']} feasible, {s['infeasible']} infeasible, "
        f"{s['failed']} failed), {s['trials_this_run']} in {clock(s['seconds'])} ({s['trials_per_s']:.1f} trials/s)")
    if s["rejected"]:
        counts = ", ".join(f"{name} {count:,}" for name, count in s["rejected"].items())
        say(f"left out without a trial, since their settings are illegal: {counts}")
    if s["pruned_by_bounds"]:
        say(f"ended without a simulation, by what their bounds prove: {s['pruned_by_bounds']:,}")
    for reason, count in ending.found.failures.most_common(3):
        say(f"failed: {count} x {reason}")
    say(f"cost cache: {s['cache_hits']} hits, {s['cache_misses']} misses, {s['cache_bytes'] / 1e6:.1f} MB, "
        f"{s['cache_computed_s']:.2f} s spent, {s['cache_saved_s']:.2f} s saved")
    if ending.found.front:
        _print_front(console, space, ending)
        told = [*ending.found.front, *(t for t in ending.found.kept if t.baseline)]
        for line in (*noise_lines(space, ending.found), *_against_baselines(space, ending), *_bounds(space, ending),
                     *rests(space, told), *remarks(space, told)):
            say(line)
    else:
        say("no feasible design; the constraints that were missed most often:" if ending.found.count else "no trial finished")
        for reason, count in ending.found.reasons.most_common(5):
            say(f"  {count} x {reason}")
    say(f"written to {folder}: pareto.csv, trials.parquet, best/, report.html, costs.npz, trials.jsonl")
    say("next:")
    for what, command in _next(folder, ending):
        console.print(f"  {what:16}{command}", highlight=False, markup=False, soft_wrap=True)


def _next(folder: Path, ending: Ending) -> list[tuple[str, str]]:
    steps = [("look at it", f"open {folder / 'report.html'}, or python -m sweeper ui {folder}")]
    if ending.why in ("timeout", "interrupted", "failing"):
        steps.insert(0, ("go on", f"python -m sweeper resume {folder}"))
    elif ending.why == "complete":
        steps.append(("search further", f"python -m sweeper resume {folder} --trials {2 * ending.summary['trials']}"))
    if ending.found.front:
        steps.append(("run a design", f"python -m simulator run {folder}/best/trial-{ending.found.front[0].number:05d}.yaml"))
    return steps


def _print_front(console: Console, space: Space, ending: Ending) -> None:
    pareto = list(ending.found.front)
    wide = console.width >= WIDE
    title = f"Pareto front: {len(pareto)} designs" + (f", {SHOWN} shown" if len(pareto) > SHOWN else "")
    columns = [f"{o.name}\n{o.shown_unit} {'↓' if o.direction == 'minimize' else '↑'}".replace("\n ", "\n")
               for o in space.objectives]
    rows = evenly(pareto, SHOWN)
    varied = [p.name for p in space.parameters if len({_shown(t, p.name) for t in pareto}) > 1]
    placed = {p.name for p in space.parameters if all(key.startswith("parallelism.") for key in p.keys)}  # by `devices`
    names = [name for name in varied if name not in placed]
    settings = _settings(rows, names) if wide else [""] * len(rows)
    noisy = space.replicates > 1
    ties = ties_both_ways(ending.found) if noisy else {}
    table = Table("trial", *columns, *(["ties with"] if noisy else []), "devices",
                  *([" ".join(map(_short, names))] if wide and names else []), title=title, title_justify="left",
                  box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:len(columns) + 1]:
        column.justify = "right"
    best = {o.name: best_trial(pareto, o) for o in space.objectives}
    for trial, setting in [*zip(rows, settings, strict=True), *((t, "") for t in _baselines(ending))]:
        numbers = [Text(shown(trial, o.name), "bold green" if trial is best[o.name] else "") for o in space.objectives]
        table.add_row(trial.baseline or str(trial.number), *numbers,
                      *([listed(ties.get(trial.number, []), 4)] if noisy else []), devices(space, trial),
                      *([Text(setting)] if wide and names else []), end_section=trial is rows[-1])
    console.print(table)
    same = [f"{p.name}={_shown(pareto[0], p.name)}" for p in space.parameters
            if p.name not in varied and p.name in pareto[0].parameters]
    if same:
        console.print("all of them: " + " ".join(same), highlight=False, markup=False, soft_wrap=not console.is_terminal)
    if not wide and names:
        console.print(f"their settings: in pareto.csv, or on a terminal of {WIDE} columns", highlight=False, markup=False)


def _settings(trials: Sequence[Trial], names: Sequence[str]) -> list[str]:
    """Each trial's values in the order of `names`, padded so that they stand below each other."""
    values = [[_shown(t, name) or "-" for name in names] for t in trials]
    widths = [max(map(len, column)) for column in zip(*values, strict=True)]
    return [" ".join(f"{value:{width}}" for value, width in zip(row, widths, strict=True)) for row in values]


def _short(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _baselines(ending: Ending) -> list[Trial]:
    return [t for t in ending.found.kept if t.baseline and t.status == "complete"]


def _against_baselines(space: Space, ending: Ending) -> list[str]:
    """What the cheapest design of the front (of the best of the first objective, where no objective is money) gains on each
    baseline, as it is and at equal settings; and how many designs beat the baseline in all."""
    o = next((o for o in space.objectives if o.basis), space.objectives[0])
    trial = best_trial(ending.found.front, o)
    if trial is None:
        return []
    amounts = f"; amounts: {BASIS_TEXT[space.base_flat['costs.cost_basis']]}" if any(o.basis for o in space.objectives) else ""
    baselines = [t for t in ending.found.kept if t.baseline]
    head = f"trial {trial.number} (best {o.name}, devices {devices(space, trial)}) against the baselines{amounts}"
    lines = [head] if baselines else []
    for baseline, found in comparisons(space, trial, baselines):
        if baseline.status != "complete":
            lines.append(f"baseline {baseline.baseline} is no feasible design: {baseline.reason}")
        for one in found:
            lines.append(f"  {one.baseline} {one.settings}, devices {devices(space, baseline)}: {said(one, space.objectives)}")
        if baseline.status == "complete":
            beating = sum(dominates(*points([t, baseline], space.objectives)) for t in ending.found.front)
            lines.append(f"  {beating} of {len(ending.found.front)} designs dominate {baseline.baseline} as it is")
    return lines


def _bounds(space: Space, ending: Ending) -> list[str]:
    """What the best design of each objective is bound by."""
    chosen: dict[int, tuple[Trial, list[str]]] = {}
    for o in space.objectives:
        trial = best_trial(ending.found.front, o)
        if trial is not None:
            chosen.setdefault(trial.number, (trial, []))[1].append(o.name)
    lines = [(f"trial {trial.number} (best {', '.join(names)})", why(space, trial)) for trial, names in chosen.values()]
    return [f"{what} is bound by {text}" for what, text in lines if text]


def _shown(trial: Trial, name: str) -> str:
    return label(trial.parameters[name]) if name in trial.parameters else ""

