"""What hears of a sweep's trials once they are in the ledger, and the thread that copies them to a store elsewhere."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from simulator.inputs.secrets import masked
from sweeper.study.ending import Ending
from sweeper.study.trial import Trial

LOOK_SECONDS = 2.0  # between two looks of a thread at what there is to copy
RETRY_SECONDS = 30.0
CLOSE_SECONDS = 120.0  # how long the end of a sweep waits for a store


class Follower:
    """Hears of a sweep, called by the sweep's own thread: every method but `close` returns at once."""

    writing_to = ""  # what `close` may take a while for, in words

    def start(self) -> None:
        """Called once, before the first trial."""

    def on_trial(self, trial: Trial) -> None:
        """Called with each final trial of this run that is not part of `Rows`, after it was written to the ledger."""

    def on_tick(self) -> None:
        """Called several times a second while trials run."""

    def close(self, ending: Ending) -> None:
        """Called once, after the last trial; may wait."""


class StoreFollower(Follower, ABC):
    """Copies a study to a store from a thread; whatever goes wrong there never stops a sweep.

    After a failure there is one warning and a new try every half minute, at the end, and on resume.
    """

    def __init__(self, store: str, uri: str, incomplete: str, warn: Callable[[str], None]) -> None:
        """store: its name in messages. incomplete: what to do where it misses trials in the end. warn: takes a line of text,
        also from the thread."""
        self.writing_to = store
        self.complete = False  # everything was copied
        self._where, self._incomplete, self._warn = uri, incomplete, warn
        self._ending: Ending | None = None
        self._wake = threading.Event()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=store, daemon=True)

    @abstractmethod
    def copy(self, ending: Ending | None) -> None:
        """Called in the thread: copies what the store does not have, the ending too where there is one. Raises anything."""

    @abstractmethod
    def disconnect(self) -> None:
        """Called in the thread after a failure: the next `copy` connects again and asks the store what it has."""

    def start(self) -> None:
        """Connects in the background, while Ray starts: importing MLflow and making its tables costs seconds of a core."""
        self.look()
        self._thread.start()

    def look(self) -> None:
        """There is something to copy now."""
        self._wake.set()

    def close(self, ending: Ending) -> None:
        """Waits until everything is copied, at most CLOSE_SECONDS; warns where that was not possible."""
        self._ending = ending
        self.look()
        self._thread.join(CLOSE_SECONDS)
        self._give_up.set()
        if not self.complete:
            self._warn(f"{self.writing_to} does not have the whole sweep; {self._incomplete}")

    def _follow(self) -> None:
        warned = False
        retry_at_s = 0.0
        while True:
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            ending = self._ending
            if ending is None and time.monotonic() < retry_at_s:
                continue
            try:
                self.copy(ending)
                self.complete = ending is not None and not self._give_up.is_set()
            except Exception as error:  # any failure of a store is only a warning
                self.disconnect()
                retry_at_s = time.monotonic() + RETRY_SECONDS
                if not warned:
                    warned = True
                    self._warn(f"{self._where} cannot be written ({_first_line(error)}); the sweep goes on and catches up later")
            if ending is not None:
                return


def _first_line(error: BaseException) -> str:
    """What went wrong first: libraries wrap a database's own error in a general remark."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = (str(error).strip().splitlines() or [""])[0]
    return masked(f"{type(error).__name__}: {text[:200]}")
