"""The commands of `python -m simulator`: arguments in, text out."""
