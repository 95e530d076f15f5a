"""The profiling run from plan to table: it measures what the journal lacks and writes the table from the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from simulator.design.records.model import Architecture
from simulator.devices.measured.table import TEXT, OperatorTable, from_columns
from simulator.inputs.errors import InputError
from simulator.model.operators import Collective
from simulator.profiling.collective import measured_all_reduce
from simulator.profiling.journal import Journal, open_journal
from simulator.profiling.plan import LargestShapes, Point, plan
from simulator.profiling.timing import timer
from simulator.profiling.torch_calls import call_of

Measure = Callable[[Point], dict[str, Any]]
MeasureAll = Callable[[list[Point]], list[dict[str, Any]]]


def profile(points: list[Point], journal: Journal, measure: Measure, together: MeasureAll,
            show_progress: Callable[[int, int, Point], None]) -> None:
    """Measures the points that `journal` lacks, each kept as soon as it is known.

    together: measures the collectives of one kind at once, since their processes start slowly. show_progress: (done, of, next
    point).
    """
    for done, point in enumerate(points):
        if point.key in journal.finished:
            continue
        show_progress(done, len(points), point)
        if isinstance(point.operator, Collective):
            alike = [p for p in points[done:] if p.operator == point.operator and p.key not in journal.finished]
            for one, result in zip(alike, together(alike), strict=True):
                journal.add(one.key, result)
        else:
            journal.add(point.key, measure(point))


def table_of(points: list[Point], journal: Journal, meta: dict[str, str]) -> OperatorTable:
    """The measured points as a table. Raises InputError where nothing could be measured."""
    results = [(point.columns(), journal.finished.get(point.key, {})) for point in points]
    found = [(columns, result) for columns, result in results if "seconds" in result]
    if not found:
        raise InputError("nothing could be measured", file=str(journal.path))
    rows: list[dict[str, Any]] = [{**columns, **result} for columns, result in found]
    names = sorted({name for row in rows for name in row})
    return from_columns({name: np.array([row.get(name, "" if name in TEXT else 0) for row in rows]) for name in names}, meta)


def with_torch(torch: Any, arch: Architecture, device: str, launch: str, repeats: int) -> tuple[Measure, MeasureAll]:
    """Measures with PyTorch, for `profile`; a point that does not fit memory is skipped with the reason."""
    timed = timer(torch, device, launch, repeats)

    def measure(point: Point) -> dict[str, Any]:
        try:
            with torch.inference_mode():
                return asdict(timed(call_of(torch, point, arch, device)))
        except (MemoryError, RuntimeError) as error:
            if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                shape = " x ".join(map(str, point.axes))
                raise InputError(f"could not be measured ({error}); what is finished is kept, try --launch eager",
                                 key=f"{point.name} {shape}") from error
            if device == "cuda":
                torch.cuda.empty_cache()
            return {"skipped": "out of memory"}

    def together(points: list[Point]) -> list[dict[str, Any]]:
        operator = points[0].operator
        assert isinstance(operator, Collective)
        found = measured_all_reduce([p.axes[0] for p in points], operator.ranks, device, launch, repeats)
        return [asdict(found[p.axes[0]]) for p in points]

    return measure, together


def begin(folder: Path, arch: Architecture, tensor: int, limits: LargestShapes,
          header: dict[str, str]) -> tuple[list[Point], Journal]:
    """The plan, and the journal of this degree in `folder`, begun or gone on with."""
    folder.mkdir(parents=True, exist_ok=True)
    return plan(arch, tensor, limits), open_journal(folder / f"tp{tensor}.journal.jsonl", header)
