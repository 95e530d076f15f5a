"""Engines that serve a trace step by step: the compiled kernel, and the reference engine in plain Python."""
