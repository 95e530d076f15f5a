"""A metric: how unevenly requests wait for their first token."""

from simulator.design.design import Design
from simulator.result import Result
from simulator.results.metric_plugins import MetricPlugin


def _spread(design: Design, result: Result) -> float:
    return result.metrics["ttft_p99"] - result.metrics["ttft_p50"]


ttft_spread = MetricPlugin(unit="s", doc="99th percentile of TTFT minus the median", value=_spread)
