"""`python -m simulator import FORMAT SRC DEST` converts published measurements into a checked operator table."""

from __future__ import annotations

from pathlib import Path

from simulator.commands.table_report import report_findings
from simulator.design.load import resolve
from simulator.design.records.model import Architecture, Precision
from simulator.devices.measured.parquet import write_table
from simulator.devices.measured.table import OperatorTable
from simulator.importers import aiconfigurator, llmservingsim, own_parquet, vidur
from simulator.inputs.errors import InputError, nearest
from simulator.recorded.vllm_run import preset_named

FORMATS = ("llmservingsim", "vidur", "aiconfigurator", "parquet")


def import_command(form: str, source: str, destination: Path, *, model: str | None = None, hardware: str | None = None,
                   network: Path | None = None) -> int:
    """Writes the tables of `source` into the folder `destination`, each with a report of what the checks found.

    Raises InputError where the source cannot be read.
    """
    tables = _read(form, source, model, network)
    if destination.exists() and not destination.is_dir():
        raise InputError("is a file; name a folder", file=str(destination), key="DEST")
    destination.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        file = destination / f"{name}.parquet"
        write_table(table, file)
        report_findings(table, file, hardware)
    return 0


def _read(form: str, source: str, model: str | None, network: Path | None) -> dict[str, OperatorTable]:
    if form not in FORMATS:
        raise InputError(f"unknown format '{form}': {nearest(form, FORMATS)}", key="FORMAT")
    if form == "aiconfigurator":
        return aiconfigurator.read_database(source)
    if not Path(source).exists():
        raise InputError("no such file or folder", file=source, key="SRC")
    if form == "parquet":
        return own_parquet.read_files(Path(source))
    if form == "vidur":
        return vidur.read_profile(Path(source), _architecture(model or _named(Path(source).resolve().name)), network)
    bundle = llmservingsim.read_meta(Path(source))
    arch = _architecture(model or _named(bundle.model))
    return {f"tp{tensor}": llmservingsim.read_degree(bundle, arch, Precision(), tensor) for tensor in bundle.tp_degrees}


def _named(checkpoint: str) -> str:
    try:
        return preset_named(checkpoint, "models")
    except InputError:
        raise InputError(f"no preset in configs/models for '{checkpoint}'; name one, or its config.json", key="--model") from None


def _architecture(model: str) -> Architecture:
    return resolve({"model": model, "hardware": "h100-sxm", "workload": "chat-200"}).model
