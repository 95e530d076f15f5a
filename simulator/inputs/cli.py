"""How command lines end: 0 done, 2 bad input told in one line, 130 interrupted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from simulator.inputs.errors import InputError


def guarded(command: Callable[[], int | None]) -> int:
    """Runs a command; bad input becomes one line on stderr and exit code 2, a closed pipe ends quietly."""
    try:
        code = command() or 0
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
