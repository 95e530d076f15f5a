"""Serving a trace step by step: the reference engine and the compiled ones."""
