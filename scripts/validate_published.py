"""Simulates published measurements of serving systems.

    python scripts/validate_published.py FILE [--json FILE] [--points FILE.csv]

FILE: CSV (may be gzipped) with columns source, model, precision, gpu, num_gpus, tp, pp, ep, dp, framework, isl, osl, concurrency,
request_rate, output_tok_s_total, ttft_ms, tpot_ms, notes. How a row was measured is read from these and from `notes`
(`scripts/published_harness.py`); what cannot be expressed is skipped and counted by reason. An engine is its record, with the flags
that the notes quote.

Rows: `PREFIX/tpot_median` (signed), `PREFIX/tpot_mape` and the same of ttft and throughput, PREFIX being a source's repository and
page. Judged are sources of modern engines (vLLM from 0.8, TensorRT-LLM from 1.0, versions known) whose requests came all at once or
from a stated number of clients. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.closed_loop import Answered, answered
from scripts.published import SkipError, hardware_of, model_of, precision_of, record_of, rows_of
from scripts.published_harness import Measured, measured_of
from scripts.report import Row, finish, json_option, row
from simulator.design.design import Design
from simulator.design.load import resolve
from simulator.inputs.errors import InputError
from simulator.prepare import violations
from simulator.pricing.cache import CostCache
from simulator.pricing.price import PricedDesign, price

COLUMNS = ("source", "model", "precision", "gpu", "num_gpus", "tp", "pp", "ep", "dp", "framework", "isl", "osl", "concurrency",
           "request_rate", "output_tok_s_total", "ttft_ms", "tpot_ms", "notes")
BAR = 8.0  # on signed medians
MEASURES = {"tpot": "tpot_ms", "ttft": "ttft_ms", "throughput": "output_tok_s_total"}
MODERN = {"vllm": (0, 8), "trtllm": (1, 0)}

Errors = dict[str, float]  # measure -> simulated / measured - 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    json_option(parser)
    parser.add_argument("--points", type=Path, metavar="FILE.csv", help="write every row with its errors, or why it was skipped")
    args = parser.parse_args(argv)
    try:
        points = rows_of(args.file, COLUMNS)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    server = Server()
    outcomes: list[Errors | str] = []
    for point in points:
        try:
            outcomes.append(_errors(point, server.served(point)))
        except SkipError as reason:
            outcomes.append(str(reason))
    if args.points:
        _write(args.points, points, outcomes)
    return finish(summary(points, outcomes), args.json)


def prefix_of(source: str) -> str:
    """A source's repository and page in lower case, the commit and remarks in brackets dropped, other characters `-`."""
    page = re.sub(r"\([^)]*\)", "", re.sub(r"@[0-9a-f]{6,40}\b", "", source))
    return re.sub(r"[^a-z0-9]+", "-", page.lower()).strip("-")


def summary(points: list[dict[str, str]], outcomes: list[Errors | str]) -> list[Row]:
    """Medians and mean absolute errors by source, then the shares of rows that were expressed and skipped."""
    by_source: dict[str, list[int]] = defaultdict(list)
    for i, point in enumerate(points):
        by_source[prefix_of(point["source"])].append(i)
    rows: list[Row] = []
    for prefix, members in by_source.items():
        errors = [(i, outcome) for i in members if isinstance(outcome := outcomes[i], dict)]
        judged = bool(errors) and all(_judged(points[i]) for i, _ in errors)
        for measure in MEASURES:
            off = np.array([e[measure] for _, e in errors if measure in e]) * 100
            if len(off):
                rows.append(row(f"{prefix}/{measure}_median", float(np.median(off)), "%", BAR if judged else None, absolute=True))
                rows.append(row(f"{prefix}/{measure}_mape", float(np.abs(off).mean())))
                rows.append(row(f"{prefix}/{measure}_p90", float(np.percentile(np.abs(off), 90))))
                rows.append(row(f"{prefix}/{measure}_points", len(off), "points"))
    skipped = Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    rows.append(row("published/expressed_pct", 100 * (1 - skipped.total() / len(points))))
    return rows + [row(f"published/skipped/{reason}", count, "points") for reason, count in skipped.most_common()]


def _judged(point: dict[str, str]) -> bool:
    how = measured_of(point)
    least = MODERN.get(how.family)
    return least is not None and how.stated and how.version is not None and how.version >= least and how.rate_per_s is None


class Server:
    """Serves published points; designs and runs are kept, since rows of a table share them."""

    def __init__(self) -> None:
        self._cache = CostCache()
        self._priced: dict[str, PricedDesign] = {}
        self._answered: dict[str, Answered | None] = {}

    def served(self, point: dict[str, str]) -> Answered:
        """What the point's clients see. Raises SkipError where it cannot be expressed or served."""
        how = measured_of(point)
        plain = _plain(point, how)
        key = repr(plain)
        if key not in self._priced:
            self._priced[key] = self._prepare(plain)
        run = f"{key} {how}"
        if run not in self._answered:
            self._answered[run] = self._run(self._priced[key], how)
        found = self._answered[run]
        if found is None:
            raise SkipError("a request does not fit")
        return found

    def _prepare(self, plain: dict[str, object]) -> PricedDesign:
        try:
            design: Design = resolve(plain)
        except InputError as error:
            raise SkipError(f"not expressible: {error.key or error.message}") from error
        missed = violations(design)
        if missed:
            raise SkipError(f"does not fit: {missed[0].name}")
        try:
            return price(design, self._cache)
        except InputError as error:
            raise SkipError(f"not expressible: {error.key or error.message}") from error

    def _run(self, priced: PricedDesign, how: Measured) -> Answered | None:
        prompts, outputs = how.lengths()
        one_way = {} if how.online else {"one_way_ns": 0}
        return answered(priced.costs, priced.scheduler, prompts, outputs, how.clients, rate_per_s=how.rate_per_s, **one_way)


def _plain(point: dict[str, str], how: Measured) -> dict[str, object]:
    degrees = {name: point[name].strip() for name in ("tp", "pp", "ep", "dp")}
    if not all(degree.isdigit() for degree in degrees.values()):
        raise SkipError("parallel degrees not stated")
    tensor, pipeline, experts, data = (int(degrees[name]) for name in ("tp", "pp", "ep", "dp"))
    if data > 1:
        raise SkipError("data-parallel ranks in one server")
    if point["num_gpus"].strip() not in ("", str(tensor * pipeline)):
        raise SkipError("GPUs and parallel degrees disagree")
    plain: dict[str, object] = {
        "model": model_of(point["model"]), "hardware": hardware_of(point["gpu"]),
        "precision": precision_of(point["precision"], family=how.family),
        "engine": {"base": record_of(how.family, how.version), **how.engine},
        "parallelism": {"tensor": tensor, "pipeline": pipeline, "expert_parallel": experts > 1},
        "serving": how.serving, "workload": "chat-200"}
    return plain


def _errors(point: dict[str, str], found: Answered) -> Errors:
    """Of every measure that the row has. A batch's `tpot` that holds its prefill is compared with the same."""
    ours = {"tpot": found.tpot_s * 1e3, "ttft": found.ttft_s * 1e3, "throughput": found.tokens_per_s}
    how, errors = measured_of(point), {}
    if how.prefill_in_tpot:
        ours["tpot"] = 1e3 * how.clients / found.tokens_per_s
    for measure, column in MEASURES.items():
        try:
            real = float(point[column])
        except ValueError:
            continue
        if real > 0 and ours[measure] > 0:
            errors[measure] = ours[measure] / real - 1
    if not errors:
        raise SkipError("nothing measured")
    return errors


def _write(file: Path, points: list[dict[str, str]], outcomes: list[Errors | str]) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([*COLUMNS, *(f"{measure}_error" for measure in MEASURES), "skipped"])
        for point, outcome in zip(points, outcomes, strict=True):
            errors = outcome if isinstance(outcome, dict) else {}
            writer.writerow([*(point[column] for column in COLUMNS), *(f"{errors[m]:.4f}" if m in errors else "" for m in MEASURES),
                             outcome if isinstance(outcome, str) else ""])


if __name__ == "__main__":
    sys.exit(main())
