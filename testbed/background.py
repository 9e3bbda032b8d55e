"""One piece of work on a thread of its own, whose error comes back to who started it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Runs ``work`` on a daemon thread: a radio that blocks must not keep a node from hearing that the run ended."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # handed over, not swallowed: finished() raises it
            self._error = error
        finally:
            self._done.set()

    def finished(self, timeout_s: float = 0.0) -> bool:
        """Whether the work is done; raises what it raised."""
        done = self._done.wait(timeout_s)
        if done and self._error is not None:
            raise self._error
        return done
