"""Traces, schedulers and the two engines."""
