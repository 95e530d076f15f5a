"""What a running sweep shows: one styled text for a terminal, cheap to make since it is made again and again, or a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from sweeper.space.objectives import Objective
from sweeper.study.results import evenly
from sweeper.study.tally import Tally

_BLOCKS = "▁▂▃▄▅▆▇█"
_NARROW, _BAR = 20, 40  # columns of the bar on a terminal of 80 columns and a wider one
_CURVE = 24  # columns of the hypervolume's curve


@dataclass(frozen=True)
class View:
    """A running sweep at one moment. total: trials there will be. rate: trials/s. title: the space and how it is searched."""

    tally: Tally
    objectives: Sequence[Objective]
    total: int
    workers: int
    title: str
    rate: float = 0.0
    elapsed_s: float = 0.0

    @property
    def eta(self) -> str:
        """'ETA 7 s'; '' where it is not known."""
        left = self.total - self.tally.done
        return f"ETA {clock(left / self.rate)}" if self.rate > 0 and left > 0 else ""

    @property
    def cache(self) -> tuple[float, float]:
        """(share of operator prices that were found, seconds saved)."""
        costs = self.tally.costs
        return costs.hits / max(1, costs.hits + costs.misses), costs.saved_s


def line(view: View) -> str:
    """'120/200 trials, 80 feasible (2 failed), front 14, hypervolume 1.2e+03, 43 trials/s, ...'."""
    tally, (found, saved_s) = view.tally, view.cache
    failed = f", {tally.statuses['failed']} failed" if tally.statuses["failed"] else ""
    return (f"{tally.done}/{view.total} trials, {tally.statuses['complete']} feasible{failed}, front {len(tally.front)}, "
            f"hypervolume {tally.front.hypervolume():.4g}, {view.rate:.1f} trials/s, cache {found:.0%} hits "
            f"({saved_s:.1f} s saved), {view.eta or f'{clock(view.elapsed_s)} elapsed'}")


def screen(view: View, curve: Sequence[float], width: int) -> Text:
    """At most 7 lines of at most `width` columns. `curve`: the hypervolume so far, evenly over the run."""
    tally, (found, saved_s) = view.tally, view.cache
    columns = _NARROW if width < 100 else _BAR
    filled = min(columns, round(columns * tally.done / max(1, view.total)))
    lines = [
        Text.assemble((view.title, "bold"), f"  {view.workers} worker{'s' if view.workers != 1 else ''}, "
                      f"{clock(view.elapsed_s)} elapsed" + (f", {view.eta}" if view.eta else "")),
        Text.assemble(("━" * filled, "green"), ("━" * (columns - filled), "dim"),
                      f" {tally.done:,}/{view.total:,} trials  {view.rate:.1f} trials/s"),
        _counts(tally),
        Text.assemble(_label("front"), f"{len(tally.front)} designs, hypervolume {tally.front.hypervolume():.4g}  ",
                      (sparkline(evenly(curve, _CURVE)), "cyan")),
        *_best(view, width),
        Text.assemble(_label("cache"), f"{found:.0%} of operator prices found, {saved_s:.1f} s saved")]
    for text in lines:
        text.truncate(width, overflow="ellipsis")
    joined = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
    joined.no_wrap, joined.overflow = True, "ellipsis"
    return joined


def sparkline(values: Sequence[float]) -> str:
    """Heights of values as eight block characters, from the lowest to the highest of them."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


def clock(seconds: float) -> str:
    """'7 s', '3 min 20 s', '2 h 5 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _label(name: str) -> tuple[str, str]:
    return (f"{name:10}", "dim")


def _counts(tally: Tally) -> Text:
    counts = tally.statuses
    text = Text.assemble(_label("designs"), f"{counts['complete']:,} feasible, {counts['infeasible']:,} infeasible")
    if counts["pruned"]:
        text.append(f", {counts['pruned']:,} ruled out early")
    if counts["failed"]:
        text.append(f", {counts['failed']:,} failed", "red")
    return text


def _best(view: View, width: int) -> list[Text]:
    """The best of each objective, in as many lines as they need."""
    lines: list[Text] = []
    for objective, value in zip(view.objectives, view.tally.front.best(), strict=False):
        shown = f"{objective.name} {value:.4g} {objective.shown_unit}".rstrip()
        if not lines or len(lines[-1]) + 3 + len(shown) > width:
            lines.append(Text.assemble(_label("" if lines else "best"), shown))
        else:
            lines[-1].append(f"   {shown}")
    return lines
