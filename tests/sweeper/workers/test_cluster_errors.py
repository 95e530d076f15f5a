"""Clusters that cannot be joined: one line that says what to do, whatever Ray prints."""

import os
import socket

import pytest

from simulator.inputs.errors import InputError

ray = pytest.importorskip("ray")

from sweeper.__main__ import main  # noqa: E402
from sweeper.workers import cluster  # noqa: E402
from sweeper.workers.cluster import check_address, connected  # noqa: E402

REFUSED = b"W gcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: Authentication token is missing or incorrect\n"


@pytest.mark.parametrize(("native", "error", "said"), [
    (REFUSED * 20, ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"), "it refuses this machine's token"),
    (b"", RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.58.1"), "install the same Ray and Python"),
    (b"", ConnectionError("Failed to connect"), "is `ray start --head` running there?"),
    (b"", ray.exceptions.AuthenticationError("RAY_AUTH_TOKEN_PATH is set but file cannot be opened"), "a copy of the cluster's token"),
])
def test_what_is_wrong_is_said_in_one_line(monkeypatch, capfd, native, error, said):
    def init(**_options):
        os.write(2, native)
        raise error

    monkeypatch.setattr(cluster, "check_address", lambda _address: None)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InputError, match=said) as caught, connected(1, "10.0.0.1:6379"):
        pass
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@pytest.mark.parametrize("place", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:99999"])
def test_a_cluster_that_is_gone_is_said_at_once_and_leaves_no_study(monkeypatch, tmp_path, capsys, place):
    monkeypatch.chdir(tmp_path)
    address = place.format(_free_port())
    assert main(["run", "quick", "--address", address]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "nothing answers there" in said and "`ray start --head`" in said
    assert not list(tmp_path.iterdir())


def test_what_answers_is_for_ray_to_judge(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address(f"127.0.0.1:{server.getsockname()[1]}")
    for address in (None, "auto", "local"):
        check_address(address)
