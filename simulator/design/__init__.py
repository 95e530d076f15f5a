"""The design: typed records of what a YAML may say, loading, units, JSON schemas."""
