"""The expressions of a search space: syntax, checks, values and bounds of values."""
