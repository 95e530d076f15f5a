"""The Python API of sweeps, for notebooks and scripts without the command line.

    from sweeper.api import Space, Study, run

    space = Space.load("search_spaces/npu_pim.yaml", {"workload.rate": "4 requests/s"})
    study = run(space, "runs/mine", trials=400, workers=8)
    for trial in study.front():
        print(trial.parameters, trial.objectives)
    study = Study("runs/mine").resume(trials=800)
    table = study.frame()  # pandas: all trials, units in the column names
    optuna.visualization.plot_pareto_front(study.optuna())

Everything is in the study's folder, as with the command line; the two can be mixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import yaml
from rich.console import Console

from simulator.design.design import Design
from simulator.inputs.errors import InputError
from sweeper.run.launch import launch
from sweeper.run.progress import Progress
from sweeper.run.settings import Options, new_study, resumed_study
from sweeper.space.enumeration import Enumeration
from sweeper.space.file import load_space
from sweeper.space.space import Space as _Space
from sweeper.study import folder as study_folder
from sweeper.study.digest import Digest, digest
from sweeper.study.ledger import FILE_NAME, read_header
from sweeper.study.results import trial_design
from sweeper.study.settings import SweepSettings, settings_of
from sweeper.study.trial import Trial

if TYPE_CHECKING:
    import optuna
    import pyarrow

__all__ = ["InputError", "Space", "Study", "Trial", "run"]


@dataclass(frozen=True)
class Space:
    """A search space. `load` reads one; the rest answers questions about it."""

    inner: _Space

    @staticmethod
    def load(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Space:
        """From a YAML file or a name in `search_spaces/`, with dotted keys of the base design set. Raises InputError."""
        return Space(load_space(source, dict(overrides or {})))

    @staticmethod
    def from_dict(plain: Mapping[str, Any], name: str = "space") -> Space:
        """From plain data, keyed as the YAML is. Raises InputError."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.yaml"
            path.write_text(yaml.safe_dump(dict(plain), sort_keys=False), encoding="utf-8")
            return Space.load(path)

    def __repr__(self) -> str:
        designs = self.inner.size()
        return (f"Space({self.inner.name}: {'a continuum' if designs is None else f'{designs:,} designs'} of "
                f"{', '.join(self.parameters)}; {', '.join(f'{way} {name}' for name, way in self.objectives.items())})")

    @property
    def parameters(self) -> list[str]:
        """Names, in order."""
        return [p.name for p in self.inner.parameters]

    @property
    def objectives(self) -> dict[str, str]:
        """Name -> 'minimize' or 'maximize'."""
        return {o.name: o.direction for o in self.inner.objectives}

    def __len__(self) -> int:
        """Designs in the space. Raises InputError for a continuum."""
        return len(Enumeration(self.inner))

    def points(self) -> Iterator[dict[str, Any]]:
        """Every point: parameter -> value. Raises InputError for a continuum."""
        return self.inner.enumerate()

    def design(self, point: Mapping[str, Any]) -> Design:
        """The complete design at a point, as `simulator.simulate.simulate` takes it. Raises InputError."""
        return self.inner.design(self.inner.canonical(point))


class Study:
    """A study's folder. Reading never disturbs a sweep that is running in it."""

    def __init__(self, folder: str | Path) -> None:
        """Raises InputError where there is no study, or its space was changed."""
        self.folder = Path(folder)
        self._path = self.folder / FILE_NAME
        self.settings: SweepSettings = settings_of(read_header(self._path))
        self.space = Space(study_folder.space_of(self.folder, read_header(self._path)))

    def trials(self) -> Iterator[Trial]:
        """All trials finished so far, by number, one at a time."""
        return self._digest().trials()

    def front(self) -> list[Trial]:
        """The feasible non-dominated trials, by first objective, best first."""
        return self._digest().front

    def ties(self) -> dict[int, list[int]]:
        """Trial -> trials that it differs from by less than the noise, one of the two being on the front
        (`sweeper.study.ties`). Empty without `workload.replicates`. Half-widths: `Trial.half_width`, `Trial.half_widths`."""
        from sweeper.study.results import ties_both_ways

        return ties_both_ways(self._digest())

    def best(self, objective: str) -> Trial | None:
        """The feasible trial with the best value of one objective; None without any. Raises InputError."""
        from sweeper.study.front import best_trial

        for known in self.space.inner.objectives:
            if known.name == objective:
                return best_trial(self._digest().kept, known)
        raise InputError(f"unknown objective '{objective}'; there are {', '.join(self.space.objectives)}")

    def design(self, trial: Trial) -> Design:
        """The design that a trial evaluated."""
        return trial_design(self.space.inner, trial)

    def table(self) -> pyarrow.Table:
        """All trials as columns with units in their names, as trials.parquet has them."""
        import pyarrow

        from sweeper.study.results import trials_columns, trials_table

        found = self._digest()
        return trials_table(trials_columns(self.space.inner, found), list(found.trials())) if found.count else pyarrow.table({})

    def frame(self) -> Any:
        """As `table`, as a `pandas.DataFrame`."""
        return self.table().to_pandas()

    def optuna(self) -> optuna.Study:
        """All trials in an in-memory Optuna study, values as the space's file has them: for `optuna.visualization`."""
        from sweeper.sinks.optuna_storage import in_memory

        return in_memory(self.space.inner, self.trials())

    def explain(self, number: int) -> str:
        """What bounds a trial's design, in a line, from another simulation of it. Raises InputError for no such trial."""
        from sweeper.explain.why import why

        for trial in self.trials():
            if trial.number == number:
                return why(self.space.inner, trial)
        raise InputError(f"there is no trial {number} in {self.folder}")

    def __repr__(self) -> str:
        found = self._digest()
        return f"Study({self.folder}: {found.count:,} trials of {self.space.inner.name}, {len(found.front):,} on the front)"

    def resume(self, *, trials: int | None = None, workers: int | None = None, timeout: str | float | None = None,
               trial_timeout: str | float | None = None, address: str | None = None, tracking_uri: str | None = None,
               storage: str | None = None, cache: str | Path | None = None, quiet: bool = True) -> Study:
        """Evaluates what is missing (of `trials` in all), as the study began but for what is given here (see `run`).

        Raises InputError where another sweep holds the folder.
        """
        options = Options(trials=trials, workers=workers, timeout=timeout, trial_timeout=trial_timeout, address=address,
                          tracking_uri=tracking_uri, storage=storage, cache=cache)
        with Progress(Console(stderr=True), quiet=quiet) as progress:
            launch(resumed_study(self.folder, options), progress)
        return self

    def _digest(self) -> Digest:
        return digest(self.space.inner, self._path)


def run(space: Space | str | Path, folder: str | Path, *, trials: int | None = None, sampler: str | None = None,
        workers: int | None = None, seed: int | None = None, deterministic: bool = False, timeout: str | float | None = None,
        trial_timeout: str | float | None = None, address: str | None = None, tracking_uri: str | None = None,
        quiet: bool = True, warm: Sequence[str | Path] = (), cache: str | Path | None = None,
        ladder: Literal["auto", "on", "off"] | None = None, storage: str | None = None) -> Study:
    """Sweeps a space into a new folder and returns the study.

    What is left out is as the space's `study:` section says, as with `python -m sweeper run`. trials: designs in all, baselines
    included (all of them for `exhaustive`). workers: without any said, one per core. seed, deterministic: the same seed gives
    the same trials whatever the number of workers. timeout, trial_timeout: wall time of the sweep and of one design, as text
    ('30 min') or in seconds. address: a Ray cluster (then by default a worker on each of its CPUs, also of nodes that join),
    else a private local one. warm: folders of earlier studies whose results and best designs are taken over
    (`sweeper.run.warm_start`); `trials` counts without them. cache: costs.npz of an earlier study, whose operator prices are
    reused. ladder: bounds before simulations (`sweeper.run.proofs`). storage: URL of an Optuna
    database, or the path of a journal file, to which finished trials are copied (`sweeper.sinks.optuna_storage`).
    Raises InputError where the folder holds a study already.
    """
    inner = space.inner if isinstance(space, Space) else load_space(space)
    options = Options(trials=trials, workers=workers, seed=seed, sampler=sampler, ladder=ladder, timeout=timeout,
                      trial_timeout=trial_timeout, deterministic=deterministic, tracking_uri=tracking_uri, storage=storage,
                      warm_start=warm, address=address, cache=cache)
    with Progress(Console(stderr=True), quiet=quiet) as progress:
        launch(new_study(Path(folder), inner, options, progress), progress)
    return Study(folder)
