"""Passwords of URLs: masked wherever text leaves the program."""

import pytest

from simulator.inputs.secrets import masked

URLS = [
    ("postgresql://bob:S3CRET@host:5432/db", "postgresql://bob:***@host:5432/db"),
    ("postgresql+psycopg://bob:S3/C:R@ET@host/db", "postgresql+psycopg://bob:***@host/db"),
    ("mysql://:S3CRET@host/db", "mysql://:***@host/db"),
    ("https://S3CRET@mlflow.example.com/x", "https://***@mlflow.example.com/x"),
    ("http://bob:S3CRET@host", "http://bob:***@host"),
    ("postgresql://host/db?user=bob&password=S3CRET&sslmode=require", "postgresql://host/db?user=bob&password=***&sslmode=require"),
    ("https://host/x?access_token=S3CRET", "https://host/x?access_token=***"),
    ("OperationalError: cannot reach postgresql://bob:S3CRET@host/db (timeout)",
     "OperationalError: cannot reach postgresql://bob:***@host/db (timeout)"),
    ("postgresql://bob@host/db", "postgresql://bob@host/db"), ("sqlite:////tmp/a b.db", "sqlite:////tmp/a b.db"),
    ("http://127.0.0.1:5000", "http://127.0.0.1:5000"), ("journal.log", "journal.log"),
]


@pytest.mark.parametrize(("url", "shown"), URLS)
def test_passwords_are_masked_and_nothing_else_is(url, shown):
    assert masked(url) == shown
    assert "S3C" not in masked(url)
    assert masked(shown) == shown
