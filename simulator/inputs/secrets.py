"""The one way to write or print a URL that may hold a password."""

from __future__ import annotations

import re

HIDDEN = "***"
# user:password@ up to the last @ (a password may hold : / and @); of a user alone only http's is one, an access token
_PASSWORD = re.compile(r"://([^:/@?#\s]*):(\S*)@")
_TOKEN = re.compile(r"(https?)://[^:/@?#\s]+@", re.IGNORECASE)
_QUERY = re.compile(r"([?&;](?:[^=&;\s]*(?:pass|pwd|token|secret|key|auth|sig|cred)[^=&;\s]*)=)[^&;#\s]*", re.IGNORECASE)


def masked(text: str) -> str:
    """`text` with the passwords of every URL in it replaced: scheme://user:PASSWORD@host and ?password=PASSWORD."""
    text = _TOKEN.sub(rf"\g<1>://{HIDDEN}@", _PASSWORD.sub(rf"://\g<1>:{HIDDEN}@", text))
    return _QUERY.sub(rf"\g<1>{HIDDEN}", text)


def holds_secret(text: str) -> bool:
    """Whether `masked` would change it."""
    return masked(text) != text
