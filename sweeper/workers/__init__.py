"""Designs evaluated in parallel: the evaluator, the Ray actors around it, and the verdict on each design."""
