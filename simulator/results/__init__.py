"""From the times of requests and operators to metrics, breakdowns, tables and timelines."""
