"""Fixtures for tests of several folders, and the markers by which tests are chosen.

`ray`: starts Ray; given to every test with the fixture `ray_cluster`, written in modules that start Ray in another way.
`slow`: more than about 2 s of CPU time; written at the test or its module. `fast`: given to all others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


@pytest.hookimpl(tryfirst=True)  # before pytest reads the markers that -m names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that are not marked where they stand."""
    for item in items:
        if "ray_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("ray")
        if not {"ray", "slow"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker("fast")


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """One Ray cluster under all sweeps that a module runs in this process; each sweep starts workers of its own on it."""
    from sweeper.run import launch
    from sweeper.workers import cluster

    started = contextlib.ExitStack()

    @contextlib.contextmanager
    def shared(workers: int, address: str | None, **_: str) -> Iterator[None]:
        import ray

        if not ray.is_initialized():
            started.enter_context(cluster.connected(2, None))
        yield

    with pytest.MonkeyPatch.context() as patch, started:
        patch.setattr(launch, "connected", shared)
        yield
