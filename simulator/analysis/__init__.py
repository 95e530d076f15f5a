"""Analyses that need several simulations or none: highest rate, bounds, confidence intervals, roofline."""
