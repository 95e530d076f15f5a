"""The live screen of a running sweep, as one styled text: cheap to make, since it is made again and again."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from sweeper.run.status import ShownStatus, clock

_BLOCKS = "▁▂▃▄▅▆▇█"
_NARROW, _BAR = 20, 40  # columns of the bar on a terminal of 80 columns and a wider one
_CURVE = 24  # columns of the hypervolume's curve


def screen(status: ShownStatus, rate: float, curve: Sequence[float], *, elapsed_s: float, width: int) -> Text:
    """At most 7 lines of at most `width` columns. `curve`: the hypervolume so far, evenly over the run."""
    lines = [_heading(status, elapsed_s, rate), _bar(status, rate, width), _counts(status), _front(status, curve),
             *_best(status, width), _cache(status)]
    text = Text(no_wrap=True, overflow="ellipsis")
    for i, line in enumerate(lines):
        line.truncate(width, overflow="ellipsis")
        text.append_text(line)
        if i < len(lines) - 1:
            text.append("\n")
    return text


def sparkline(values: Sequence[float]) -> str:
    """Heights of values as eight block characters, from the lowest to the highest of them."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


def thinned(values: Sequence[float], columns: int = _CURVE) -> list[float]:
    """At most `columns` of the values, evenly, the first and the last included."""
    if len(values) <= columns:
        return list(values)
    return [values[round(i * (len(values) - 1) / (columns - 1))] for i in range(columns)]


def _label(name: str) -> tuple[str, str]:
    return (f"{name:10}", "dim")


def _heading(status: ShownStatus, elapsed_s: float, rate: float) -> Text:
    left = status.total - status.done
    ends = f", ETA {clock(left / rate)}" if rate > 0 and left > 0 else ""
    return Text.assemble((status.title, "bold"), f"  {status.workers} worker{'s' if status.workers != 1 else ''}, "
                         f"{clock(elapsed_s)} elapsed{ends}")


def _bar(status: ShownStatus, rate: float, width: int) -> Text:
    columns = _NARROW if width < 100 else _BAR
    filled = min(columns, round(columns * status.done / max(1, status.total)))
    return Text.assemble(("━" * filled, "green"), ("━" * (columns - filled), "dim"),
                         f" {status.done:,}/{status.total:,} trials  {rate:.1f} trials/s")


def _counts(status: ShownStatus) -> Text:
    text = Text.assemble(_label("designs"), f"{status.feasible:,} feasible, {status.infeasible:,} infeasible")
    if status.pruned:
        text.append(f", {status.pruned:,} ruled out early")
    if status.failed:
        text.append(f", {status.failed:,} failed", "red")
    return text


def _front(status: ShownStatus, curve: Sequence[float]) -> Text:
    return Text.assemble(_label("front"), f"{status.front} designs, hypervolume {status.hypervolume:.4g}  ",
                         (sparkline(thinned(curve)), "cyan"))


def _best(status: ShownStatus, width: int) -> list[Text]:
    """The best of each objective, in as many lines as they need."""
    lines: list[Text] = []
    for shown in status.best:
        if not lines or len(lines[-1]) + 3 + len(shown) > width:
            lines.append(Text.assemble(_label("" if lines else "best"), shown))
        else:
            lines[-1].append(f"   {shown}")
    return lines


def _cache(status: ShownStatus) -> Text:
    return Text.assemble(_label("cache"), f"{status.hit_rate:.0%} of operator prices found, {status.saved_s:.1f} s saved")
