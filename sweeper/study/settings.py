"""The settings of a sweep, how its space is searched, which its ledger keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.inputs.errors import InputError
from sweeper.study import ledger
from sweeper.study.ledger import Header


@dataclass(frozen=True)
class SweepSettings:
    """How a space is searched; kept in the ledger so that resume does the same."""

    trials: int
    workers: int
    seed: int
    sampler: str
    deterministic: bool = False
    timeout_s: float | None = None
    trial_timeout_s: float = 300.0  # wall time of a design after which its worker is taken for hung
    tracking_uri: str | None = None
    seeds: tuple[dict[str, Any], ...] = ()  # points that are proposed first (a warm start)
    storage: str | None = None  # of Optuna, to which finished trials are copied (sweeper.sinks.optuna_storage)
    ladder: bool = False  # a proof is tried before a simulation (sweeper.run.proofs)
    planned: int = 0  # trials at the beginning, before a resume asked for more

    @property
    def exhaustive(self) -> bool:
        """Whether every point of the space is evaluated, in order, instead of what a search proposes."""
        return self.sampler == "exhaustive"


def settings_of(header: Header, **changes: Any) -> SweepSettings:
    """The settings in a ledger's header, with those `changes` that are not None."""
    try:
        return SweepSettings(**{**header.settings, **{k: v for k, v in changes.items() if v is not None}})
    except TypeError as error:
        raise InputError(f"the header's settings are damaged: {error}", file=ledger.FILE_NAME) from error
