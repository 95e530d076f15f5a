"""How points of a space are proposed: enumeration, random, and Optuna's samplers."""
