"""Results: the times of requests and operators become metrics, breakdowns, tables and timelines."""
