"""Typed records of a design point; together they are the schema of the YAML files."""
