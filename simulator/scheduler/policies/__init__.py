"""Scheduling policies other than vLLM v1, one file each, and the registry of all by name."""
