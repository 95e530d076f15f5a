"""A design in the form that somebody else needs: a vLLM command, a hardware summary."""
