"""Cheap evaluations first: bounds and a short trace before the full simulation."""
