"""Commands of `python -m sweeper`: arguments in, text out."""
