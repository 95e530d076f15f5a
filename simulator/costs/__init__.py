"""Operator prices, the shared cost cache, and the tables an engine times its steps with."""
