"""Typed records of a design, one file per section; together they are the schema of the YAML files."""
