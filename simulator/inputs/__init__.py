"""How text becomes data: strict YAML, units, and the one error type of bad input."""
