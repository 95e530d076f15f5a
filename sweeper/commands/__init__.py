"""The commands of `python -m sweeper`: arguments in, text out."""
