"""A study's folder and what is known from it: trials, the ledger, the front, result tables."""
