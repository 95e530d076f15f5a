"""The HTML page, assembled from styles, scripts, the plotting library and the data.

`page/` holds them: page.html with marks such as @@DATA@@, css/ and js/ in the order of their names, and vendor/, Apache ECharts
as released. The scripts build every text with `textContent`, so nothing from a study is ever read as HTML.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from sweeper.report.extras import extras
from sweeper.report.payload import payload, summary_of
from sweeper.space.space import Space
from sweeper.study import ledger
from sweeper.study.digest import Digest
from sweeper.study.results import TRIALS_FILE

PAGE = files("sweeper") / "report" / "page"
BUDGET_S = 5.0  # of simulations that a report may add


def write_report(folder: Path, space: Space, found: Digest, budget_s: float = BUDGET_S) -> Path:
    """Writes `report.html` into the study's folder, from its `trials.parquet`, and returns its path.

    budget_s: about how long it may simulate for what the sweep did not (what-if slices, breakdowns, a random sample); kept in
    the folder for the next report.
    """
    import pyarrow.parquet as pq

    header = ledger.read_header(found.path)
    summary = summary_of(folder)
    extra = extras(folder, space, header, found, summary, budget_s)
    table = pq.read_table(folder / TRIALS_FILE)
    text = html(space.name, payload(space, header, found, table, extra, summary))
    path = folder / "report.html"
    fresh = folder / "report.html.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    return path


def html(name: str, data: dict[str, Any]) -> str:
    """The page of a study's data."""
    parts = {
        "TITLE": escape(f"{name}: design-space exploration"),
        "STYLE": _joined("css", ".css"),
        "DATA": script_safe(data),
        "PAGE": '"use strict";\n' + _joined("js", ".js"),
        "CHARTS": library(),
    }
    text = (PAGE / "page.html").read_text(encoding="utf-8")
    for mark, part in parts.items():  # the largest last: it is not searched again
        text = text.replace(f"@@{mark}@@", part, 1)
    return text


def library() -> str:
    """The plotting library's source."""
    return (PAGE / "vendor" / "echarts.min.js").read_text(encoding="utf-8")


def script_safe(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").replace("@@", "@\\u0040")


def _joined(folder: str, suffix: str) -> str:
    parts = sorted((p for p in (PAGE / folder).iterdir() if p.name.endswith(suffix)), key=lambda p: p.name)
    return "\n".join(p.read_text(encoding="utf-8") for p in parts)
