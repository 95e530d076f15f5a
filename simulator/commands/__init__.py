"""Command lines of the simulator."""
