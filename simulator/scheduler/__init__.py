"""The scheduler as a specification in plain Python: vLLM v1 rule by rule, and other policies as variants of it."""
