"""The table of calibrated kernels that a GPU's record names, and the choice of a kernel from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from simulator.design.records.kernels import KernelTable, StreamKernel, TileKernel
from simulator.inputs.errors import InputError
from simulator.inputs.shipped import shipped_folder
from simulator.inputs.yaml_file import load_yaml

FOLDER = shipped_folder("simulator", "configs") / "kernels"
Kernel = TypeVar("Kernel", StreamKernel, TileKernel)
# Recurrences whose scans nobody timed run like those of the same chunked form (block-diagonal scores, states between blocks)
LIKE = {"mamba": "gated_delta_net", "mamba2": "gated_delta_net", "lightning": "gated_delta_net"}
USUAL = "usual"  # the table of GPUs that nobody measured, and of kinds that a table lacks


@dataclass(frozen=True)
class Kernels:
    """The kernels of one framework on one GPU. digest: of the table's file, which stands for it in fingerprints."""

    framework: str
    digest: str
    table: KernelTable = field(repr=False)
    usual: KernelTable = field(repr=False)

    def stream(self, kind: str, number_format: str) -> StreamKernel:
        """The kernel that serves `kind`: the framework's own for that format, else its other ones, else another framework's."""
        recurrence, _, phase = kind.rpartition("_")
        kind = f"{LIKE.get(recurrence, recurrence)}_{phase}" if recurrence else kind
        return _best(self.table.streams, self.usual.streams, kind, number_format, self.framework)

    def tile(self, kind: str, number_format: str) -> TileKernel:
        """As `stream`, of matrix products."""
        return _best(self.table.tiles, self.usual.tiles, kind, number_format, self.framework)


def _best(own: tuple[Kernel, ...], usual: tuple[Kernel, ...], kind: str, number_format: str, framework: str) -> Kernel:
    same = [(entry, True) for entry in own if entry.kind == kind] + [(entry, False) for entry in usual if entry.kind == kind]
    if not same:
        raise InputError(f"no kernel of kind '{kind}' is known", file=str(FOLDER / f"{USUAL}.yaml"))
    return max(same, key=lambda found: (found[0].format == number_format, found[1], not found[0].loose,
                                        found[0].framework == framework))[0]


@lru_cache(maxsize=32)
def kernels(name: str, framework: str) -> Kernels:
    """The kernels of the table `name` (an entry of configs/kernels, or a file). Raises InputError where it cannot be read."""
    digest = blake2b(digest_size=8)
    for path in (path_of(name), path_of(USUAL)):
        digest.update(path.read_bytes())
    return Kernels(framework, digest.hexdigest(), _table(path_of(name)), _table(path_of(USUAL)))


def path_of(name: str) -> Path:
    """The file of a table. Raises InputError where there is none."""
    for path in (FOLDER / f"{name}.yaml", Path(name)):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml")))
    raise InputError(f"no kernel table '{name}'; known: {known}", key="hardware.gpu.operators")


def _table(path: Path) -> KernelTable:
    try:
        return KernelTable.model_validate(load_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(first["msg"], file=str(path), key=".".join(map(str, first["loc"]))) from None
