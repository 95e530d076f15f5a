"""A metric: how unevenly requests wait for their first token."""

from simulator.design import Design
from simulator.own_metrics import OwnMetric
from simulator.simulate import Result


def _spread(design: Design, result: Result) -> float:
    return result.metrics["ttft_p99"] - result.metrics["ttft_p50"]


ttft_spread = OwnMetric(unit="s", doc="99th percentile of TTFT minus the median", value=_spread)
