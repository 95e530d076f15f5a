"""A metric: how unevenly requests wait for their first token."""

from simulator.design.load import Design
from simulator.results.metric_plugins import OwnMetric
from simulator.simulate import Result


def _spread(design: Design, result: Result) -> float:
    return result.metrics["ttft_p99"] - result.metrics["ttft_p50"]


ttft_spread = OwnMetric(unit="s", doc="99th percentile of TTFT minus the median", value=_spread)
