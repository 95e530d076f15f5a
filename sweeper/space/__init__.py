"""The search space: parameters, constraints, objectives, expressions, and the enumeration of its points."""
