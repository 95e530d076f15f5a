"""Clusters that cannot be joined: one line that says what to do, whatever Ray prints."""

import os

import pytest

from simulator.inputs.errors import InputError

ray = pytest.importorskip("ray")

from sweeper.cluster import connected  # noqa: E402

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

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InputError, match=said) as caught, connected(1, "10.0.0.1:6379"):
        pass
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
