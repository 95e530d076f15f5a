"""Measured accelerators: operator tables as a device, and the file format that holds them."""
