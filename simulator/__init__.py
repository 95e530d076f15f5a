"""Co-simulation of hardware and LLM serving at iteration granularity."""
