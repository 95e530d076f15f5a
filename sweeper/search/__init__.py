"""Searches, which propose points of a space: random, models of our own, and Optuna's samplers."""
