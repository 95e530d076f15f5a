"""What a search-space YAML spans: parameters, constraints, objectives, enumeration."""
