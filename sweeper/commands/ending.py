"""What a person reads when a sweep has ended: how it went, the front, where everything is, what to do next."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from sweeper.folder import Settings
from sweeper.parameters import label
from sweeper.progress import clock
from sweeper.space import Space
from sweeper.study import Ending
from sweeper.trial import Trial

WIDE = 120  # columns of a terminal that has room for parameters beside the objectives
SHOWN = 12  # designs of the front on the terminal; pareto.csv has all

_ENDS = {
    "complete": "done",
    "exhausted": "done: every design of the space was evaluated, or none was left that could be proposed",
    "timeout": "stopped by --timeout",
    "interrupted": "interrupted",
    "failing": "stopped: designs fail one after the other",
}


def print_ending(console: Console, folder: Path, space: Space, settings: Settings, ending: Ending) -> None:
    """Prints the end of a sweep to stdout."""
    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    s = ending.summary
    say(f"{_ENDS[ending.why]}: {s['trials']} trials ({s['feasible']} feasible, {s['infeasible']} infeasible, "
        f"{s['failed']} failed), {s['trials_this_run']} in {clock(s['seconds'])} ({s['trials_per_s']:.1f} trials/s)")
    if s["rejected"]:
        counts = ", ".join(f"{name} {count:,}" for name, count in s["rejected"].items())
        say(f"left out without a trial, since their settings miss a constraint: {counts}")
    if s["pruned_by_bounds"] or s["pruned_by_short_trace"]:
        say(f"ended before a full simulation: {s['pruned_by_bounds']:,} by what their bounds prove, "
            f"{s['pruned_by_short_trace']:,} after a short trace")
    if ending.reason:
        say(f"last failure: {ending.reason}")
    say(f"cost cache: {s['cache_hits']} hits, {s['cache_misses']} misses, {s['cache_bytes'] / 1e6:.1f} MB, "
        f"{s['cache_computed_s']:.2f} s spent, {s['cache_saved_s']:.2f} s saved")
    if ending.found.front:
        _print_front(console, space, ending)
    else:
        say("no feasible design; the constraints that were missed most often:")
        for reason, count in ending.found.reasons.most_common(5):
            say(f"  {count} x {reason}")
    say(f"written to {folder}: pareto.csv, trials.parquet, best/, report.html, costs.npz, trials.jsonl")
    if ending.why in ("timeout", "interrupted", "failing"):
        say(f"continue with:    python -m sweeper resume {folder}")
    say(f"look at it with:  python -m sweeper ui {folder}    (MLflow), or open {folder / 'report.html'}")
    if ending.found.front:
        say(f"run a design:     python -m simulator run {folder}/best/trial-{ending.found.front[0].number:05d}.yaml")


def _print_front(console: Console, space: Space, ending: Ending) -> None:
    pareto = list(ending.found.front)
    varied = [p.name for p in space.parameters if len({_shown(t, p.name) for t in pareto}) > 1]
    same = [f"{p.name}={_shown(pareto[0], p.name)}" for p in space.parameters
            if p.name not in varied and p.name in pareto[0].parameters]
    wide = console.width >= WIDE
    title = f"Pareto front: {len(pareto)} designs" + (f", {SHOWN} shown" if len(pareto) > SHOWN else "")
    columns = [f"{o.name}\n{o.unit} {'↓' if o.direction == 'minimize' else '↑'}".replace("\n ", "\n")
               for o in space.objectives]
    table = Table("trial", *columns, *(["parameters"] if wide else []), title=title, title_justify="left")
    for trial in [*_spread(pareto), *(t for t in ending.found.kept if t.baseline and t.status == "complete")]:
        numbers = [f"{trial.objectives[o.name]:.4g}" for o in space.objectives]
        settings = " ".join(f"{n.rsplit('.', 1)[-1]}={_shown(trial, n)}" for n in varied if n in trial.parameters)
        table.add_row(trial.baseline or str(trial.number), *numbers, *([settings] if wide else []))
    console.print(table)
    if same:
        console.print("all of them: " + " ".join(same), highlight=False, markup=False, soft_wrap=True)


def _shown(trial: Trial, name: str) -> str:
    return label(trial.parameters[name]) if name in trial.parameters else ""


def _spread(pareto: list[Trial]) -> list[Trial]:
    """At most SHOWN designs, evenly along the front, both ends included."""
    if len(pareto) <= SHOWN:
        return pareto
    return [pareto[round(i * (len(pareto) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
