"""Small hardware for tests."""

from dataclasses import replace

from simulator.design.load import CONFIGS
from simulator.design.records.hardware import Hardware
from simulator.design.records.money import Costs
from simulator.devices.npu import NpuDevice
from simulator.inputs.yaml_file import load_yaml

NPU = NpuDevice(rows=128, columns=128, arrays=4, dataflow="weight_stationary", pipelined_folds=True, clock_hz=1e9,
                vector_lanes=4096, sram_bytes=32 * 2**20, launch_s=1e-6, bandwidth_bytes_per_s=1.2e12, dram_pj_per_bit=6.0,
                mac_pj=1.7, vector_op_pj=2.1, sram_pj_per_bit=0.34)


def npu(**changes):
    return replace(NPU, **changes)


def shipped(name):
    return Hardware(**load_yaml(CONFIGS / "hardware" / f"{name}.yaml"))


def costs():
    return Costs(**load_yaml(CONFIGS / "costs" / "default.yaml"))
