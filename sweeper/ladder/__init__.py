"""Cheap answers before dear ones: static checks, proofs from bounds, a short trace, the full trace."""
