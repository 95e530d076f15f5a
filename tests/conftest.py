"""Fixtures for tests of several folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """One Ray cluster under all sweeps that a module runs in this process; each sweep starts workers of its own on it."""
    from sweeper.run import launch
    from sweeper.workers import cluster

    started = contextlib.ExitStack()

    @contextlib.contextmanager
    def shared(workers: int, address: str | None) -> Iterator[None]:
        import ray

        if not ray.is_initialized():
            started.enter_context(cluster.connected(2, None))
        yield

    with pytest.MonkeyPatch.context() as patch, started:
        patch.setattr(launch, "connected", shared)
        yield
