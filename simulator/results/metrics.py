"""The registry of metrics: each one's name, unit and definition.

Rates are taken over the time in which requests arrive, longer by what piles up meanwhile (`simulator.results.steady`). Means are
over finished requests; percentiles are over all that arrived, and one that falls among rejected requests has no value.

TTFT: first token minus arrival, queueing included. TPOT: (last - first token) / (output tokens - 1), requests with one
output token left out: undefined where all have one. ITL: gaps between successive tokens of a request. E2E: last token minus
arrival. Queueing: start of the first batch minus arrival. Percentiles interpolate linearly between order statistics.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """name as in expressions and files; unit of the reported value; meaning in a sentence."""

    name: str
    unit: str
    doc: str

    @property
    def column(self) -> str:
        """The column name in CSV and parquet files: name and unit."""
        suffix = {"": "", "s": "_s", "J": "_j", "W": "_w", "USD": "_usd", "mm^2": "_mm2", "W/mm^2": "_w_per_mm2", "USD/h": "_usd",
                  "USD/Mtok": "_usd", "tokens/s": "_tokens_per_s", "requests/s": "_requests_per_s",
                  "J/token": "_j", "tokens/J": "", "tokens/s/USD": ""}[self.unit]
        return self.name + suffix


PERCENTILES = (50, 90, 95, 99)
_LATENCIES = {
    "ttft": "time to first token, queueing included",
    "tpot": "time per output token after the first",
    "itl": "inter-token latency: gaps between successive tokens",
    "e2e": "end-to-end latency of a request",
    "queueing": "time from arrival to the first batch",
}


def _latency_metrics() -> list[Metric]:
    rows = []
    for name, doc in _LATENCIES.items():
        rows.append(Metric(f"{name}_mean", "s", f"{doc}; mean over requests"))
        rows.extend(Metric(f"{name}_p{p}", "s", f"{doc}; {p}th percentile") for p in PERCENTILES)
    return rows


METRICS: dict[str, Metric] = {m.name: m for m in [
    *_latency_metrics(),
    Metric("request_throughput", "requests/s", "finished requests per second while requests come, without the drain after them"),
    Metric("prompt_throughput", "tokens/s", "prompt tokens of finished requests per second"),
    Metric("output_throughput", "tokens/s", "generated tokens per second"),
    Metric("output_throughput_per_device", "tokens/s", "generated tokens per second and device"),
    Metric("goodput", "requests/s", "requests per second that meet every latency target of the design's slo"),
    Metric("slo_attainment", "", "share of all requests that finish and meet every latency target"),
    Metric("makespan", "s", "first arrival to last finish"),
    Metric("backlog_growth", "requests/s", "how fast waiting requests pile up; near 0 where the design keeps up"),
    Metric("requests", "", "requests in the trace"),
    Metric("rejected", "", "requests that could never fit and were refused; they miss every target"),
    Metric("preemptions", "", "preemptions, all requests"),
    Metric("steps", "", "engine steps"),
    Metric("batch_mean", "", "requests per step, mean"),
    Metric("step_tokens_mean", "", "new tokens per step, mean"),
    Metric("waiting_mean", "", "requests in the waiting queue, mean over time and replicas"),
    Metric("kv_blocks", "", "KV blocks of a replica (vLLM's num_gpu_blocks)"),
    Metric("kv_use_mean", "", "share of KV blocks in use, mean over time"),
    Metric("kv_use_peak", "", "share of KV blocks in use, highest"),
    Metric("cached_prompt_share", "", "share of prompt tokens found in the prefix cache at first admission"),
    Metric("device_utilization", "", "share of time the compute devices are busy"),
    Metric("pim_utilization", "", "share of time the PIM stacks are busy (0 without PIM)"),
    Metric("link_utilization", "", "share of time spent in collectives and transfers"),
    Metric("energy", "J", "energy of all devices over the run, static power included"),
    Metric("energy_per_token", "J/token", "energy per generated token"),
    Metric("energy_per_request", "J", "energy per finished request"),
    Metric("power", "W", "mean power of all devices, their share of servers included"),
    Metric("board_power", "W", "mean power of one accelerator with its memory and PIM, servers apart"),
    Metric("devices", "", "accelerators: tensor x pipeline x replicas"),
    Metric("area", "mm^2", "area of the logic dies of one accelerator (0 where unknown)"),
    Metric("power_density", "W/mm^2", "board power at full matrix load over that area (0 where unknown; air takes 0.9)"),
    Metric("capital", "USD", "purchase price of the whole system"),
    Metric("cost_per_hour", "USD/h", "capital written off over its life, plus power"),
    Metric("cost_per_million_tokens", "USD/Mtok", "cost per million generated tokens at the run's throughput"),
]}

# What grows with the number of devices. Systems of different sizes are compared per device, rates per dollar as well.
RATES = frozenset({"request_throughput", "prompt_throughput", "output_throughput", "goodput", "capacity", "goodput_at_slo",
                   "output_throughput_at_slo"})
BURDENS = frozenset({"power", "capital", "cost_per_hour"})

# What a capacity search (`simulator.analysis.rate_search`) adds: the design at the highest request rate that meets its targets.
CAPACITY_METRICS: dict[str, Metric] = {m.name: m for m in [
    Metric("capacity", "requests/s", "highest request rate at which the latency targets hold; mean over replicated seeds"),
    Metric("capacity_low", "requests/s", "lower end of its 95 % confidence interval, no lower than 0"),
    Metric("capacity_high", "requests/s", "upper end of its 95 % confidence interval"),
    Metric("capacity_per_device", "requests/s", "capacity over accelerators"),
    Metric("goodput_at_slo", "requests/s", "capacity times the share of requests that meet every target of the design's slo"),
    Metric("output_throughput_at_slo", "tokens/s", "capacity times the mean output length"),
    Metric("cost_per_million_tokens_at_slo", "USD/Mtok", "cost per million generated tokens at capacity"),
    Metric("energy_per_token_at_slo", "J/token", "energy per generated token at capacity"),
    Metric("capacity_runs", "", "runs of the engine that the search took"),
]}
ALL_METRICS: dict[str, Metric] = {**METRICS, **CAPACITY_METRICS}
