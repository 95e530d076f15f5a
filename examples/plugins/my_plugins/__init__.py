"""A metric and a sampler of your own."""
