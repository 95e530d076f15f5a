"""The energy of a run by component: operators where they run, the sampler, idling, servers."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.design.design import Design
from simulator.design.engine_defaults.host import host_of
from simulator.results.breakdown import OperatorTotals
from simulator.silicon.money import Bill
from simulator.silicon.power import streaming_w

COMPONENTS = ("device", "pim", "link", "sampler", "idle", "server")


def energy_j(design: Design, metrics: Mapping[str, float], done: OperatorTotals, bill: Bill) -> dict[str, float]:
    """Joules of all devices over the run by component of `COMPONENTS`.

    device, pim, link: operators; while any kernel of a GPU runs its active baseline counts to it. sampler: what every sequence
    of a step takes on the device in addition to the model's operators (the hardware's `host.device_sequence`, or its engine's
    exposed host time): passes over the logits, bound by memory. idle: devices without work, PIM stacks included, all the time.
    server: host, network.
    `metrics`: with `batch_mean`, `steps` and `makespan`.
    """
    parallelism, span_s = design.parallelism, metrics["makespan"]
    found = dict.fromkeys(COMPONENTS, 0.0)
    for name, joules in zip(done.devices, done.joules.tolist(), strict=True):
        found[name] += parallelism.tensor * joules
    sampling_s = host_of(design).device_sequence_s * metrics["batch_mean"] * metrics["steps"]
    found["sampler"] = parallelism.tensor * sampling_s * streaming_w(design.hardware)
    server_w = design.costs.server_power_w
    found["idle"] = (bill.static_w - server_w) * parallelism.devices * span_s
    found["server"] = server_w * parallelism.devices * span_s
    return found
