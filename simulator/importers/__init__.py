"""Readers of other people's measurements into operator tables; one file per format."""
