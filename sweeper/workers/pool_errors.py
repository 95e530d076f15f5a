"""The pool's error, apart from the pool so that it can be caught without importing Ray."""


class PoolError(Exception):
    """The workers cannot run at all; the text says why."""
