"""The recorded operator tables behind the shared serving runs, and a device that prices from them."""

from functools import lru_cache

from simulator.design.design import Design
from simulator.design.load import resolve
from simulator.devices.build import build
from simulator.devices.measured.bind import measured_devices
from simulator.devices.measured.device import MeasuredDevice
from simulator.devices.measured.table import OperatorTable
from simulator.importers.llmservingsim import read_degree, read_meta
from simulator.model.layers import operators
from simulator.model.operators import Operator
from tests.shared import shared_file

PRESETS = {"RTX4090": "rtx4090", "RTXPRO6000": "rtx-pro-6000"}


@lru_cache
def design(gpu: str) -> Design:
    return resolve({"model": "llama-3.1-8b", "hardware": PRESETS[gpu], "workload": "chat-200"})


@lru_cache
def table(gpu: str) -> OperatorTable:
    folder = shared_file(f"data/llmservingsim_tables/{gpu}/Llama-3.1-8B")
    return read_degree(read_meta(folder), design(gpu).model, design(gpu).precision, 1)


def operator(gpu: str, name: str) -> Operator:
    return next(op.operator for op in operators(design(gpu).model, design(gpu).precision, 1) if op.name == name)


def device(gpu: str) -> MeasuredDevice:
    ops = operators(design(gpu).model, design(gpu).precision, 1)
    found = measured_devices(build(design(gpu).hardware, design(gpu).parallelism), table(gpu), ops).compute
    assert isinstance(found, MeasuredDevice)
    return found
