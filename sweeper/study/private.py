"""`private.json`: the URLs of a study's stores where they hold a password, readable by the owner alone (mode 0600).

Everything else of a study (ledger, MLflow, report, messages) has these URLs masked; `resume` reads the real ones here. The file
is no artifact: it is never copied to MLflow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.inputs.errors import InputError
from simulator.inputs.files import MIB, is_there, parse_json, read_bytes
from simulator.inputs.secrets import holds_secret, masked

FILE_NAME = "private.json"
URLS = ("tracking_uri", "storage")  # settings that may hold a password


def without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they may be seen by anybody."""
    return {name: masked(value) if name in URLS and isinstance(value, str) else value for name, value in settings.items()}


def keep(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes the URLs of `settings` that hold a password; nothing where none does."""
    secrets = {name: settings[name] for name in URLS if isinstance(settings.get(name), str) and holds_secret(settings[name])}
    if not secrets:
        return
    path = folder / FILE_NAME
    path.unlink(missing_ok=True)  # never through somebody else's link or into a file that others may read
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as file:
        json.dump(secrets, file)


def with_secrets(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a ledger with the URLs as they were given. Raises InputError where one is masked and not kept here."""
    path = folder / FILE_NAME
    kept = parse_json(read_bytes(path, most=MIB), file=str(path)) if is_there(path) else {}
    if not isinstance(kept, dict):
        raise InputError("is not a list of a study's URLs", file=str(path))
    full = dict(settings)
    for name in URLS:
        url = kept.get(name)
        if isinstance(url, str) and masked(url) == settings.get(name):
            full[name] = url
    return full
