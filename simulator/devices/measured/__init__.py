"""Measured accelerators: operator tables as devices, and the file format of the tables."""
