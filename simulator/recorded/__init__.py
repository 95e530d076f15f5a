"""Recorded serving runs: they are read, replayed, and used to fit constants."""
