"""Recorded serving runs: reading them, replaying them and fitting constants to them."""
