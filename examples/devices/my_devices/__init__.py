"""Devices of one's own for the sweeper; see the README beside."""
