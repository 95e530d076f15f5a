"""Importers of published measurements into operator tables, one file per format."""
