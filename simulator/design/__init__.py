"""What a YAML may say about a design: typed records, loading, units, JSON schema."""
