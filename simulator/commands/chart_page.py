"""Line charts as one page that opens without a network: Apache ECharts inside, the copy that a sweep's report has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.inputs.errors import InputError

ECHARTS = Path(__file__).resolve().parents[2] / "sweeper" / "report" / "page" / "vendor" / "echarts.min.js"
HEIGHT_PX = 420
PAGE = """<!doctype html><meta charset="utf-8"><title>@@TITLE@@</title><body style="font-family: sans-serif"><script>
@@ECHARTS@@
for (const option of @@OPTIONS@@) {
  const place = document.body.appendChild(document.createElement("div"));
  place.style.height = "@@HEIGHT@@px";
  echarts.init(place).setOption(option);
}
</script>
"""


@dataclass(frozen=True)
class Line:
    """y over x, arrays of equal length; notes: a word for every point, shown with it."""

    name: str
    x: np.ndarray
    y: np.ndarray
    color: str = "#1f77b4"
    dashed: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """Lines in one frame, both axes linear or both logarithmic."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    logarithmic: bool = False


def write_charts(charts: Sequence[Chart], file: str) -> None:
    """Writes the page, the charts below one another. Raises InputError where that fails."""
    if not file.endswith(".html"):
        raise InputError("must end in .html", file=file)
    options = json.dumps([_option(chart) for chart in charts]).replace("</", "<\\/")
    page = PAGE.replace("@@TITLE@@", charts[0].title).replace("@@HEIGHT@@", str(HEIGHT_PX)).replace("@@OPTIONS@@", options)
    try:
        Path(file).write_text(page.replace("@@ECHARTS@@", ECHARTS.read_text(encoding="utf-8")), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=file) from error


def _option(chart: Chart) -> dict[str, Any]:
    """The chart in ECharts' own words (https://echarts.apache.org/en/option.html)."""
    kind = "log" if chart.logarithmic else "value"
    axis = {"type": kind, "nameLocation": "middle", "nameGap": 40, "scale": True}
    return {
        "animation": False, "title": {"text": chart.title}, "legend": {"top": 30}, "tooltip": {"trigger": "item"},
        "grid": {"top": 70, "left": 90, "bottom": 60}, "toolbox": {"feature": {"dataZoom": {}, "saveAsImage": {}}},
        "xAxis": {**axis, "name": chart.x}, "yAxis": {**axis, "name": chart.y, "nameGap": 65},
        "series": [_series(line) for line in chart.lines],
    }


def _series(line: Line) -> dict[str, Any]:
    points = [list(pair) for pair in zip(line.x.tolist(), line.y.tolist(), strict=True)]
    data = [{"value": point, "name": note} for point, note in zip(points, line.notes, strict=True)] if line.notes else points
    return {"type": "line", "name": line.name, "data": data, "showSymbol": bool(line.notes), "sampling": "lttb",
            "color": line.color, "lineStyle": {"type": "dashed" if line.dashed else "solid"}}
