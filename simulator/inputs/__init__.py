"""Input handling: strict YAML, the one error type of bad input, exit codes, plug-ins."""
