"""How a process is told to end, and that it does: signals, the end of its supervisor, and a last resort."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SUPERVISED = "SEMTB_SUPERVISED"  # set for children of `semtb run`: their standard input ends when it dies
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
GRACE_S = 1.3  # a node that was told to end and has not is blocked in native code; a run ends within 3 s
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Callable that says whether this process was told to end. Made once, in the main thread.

    Parameters
    ----------
    last_resort : callable, optional
        Run before the process is ended by force, ``GRACE_S`` after the request. None: it is never ended by force.
    """

    def __init__(self, last_resort: Callable[[], object] | None = None) -> None:
        self.reason = ""
        self._asked = threading.Event()
        self._last_resort = last_resort
        self._raise = False
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        if os.environ.get(SUPERVISED):
            threading.Thread(target=self._watch_supervisor, name="supervisor-watch", daemon=True).start()

    def __call__(self) -> bool:
        return self._asked.is_set()

    @property
    def exit_status(self) -> int:
        """130 for Ctrl-C, as shells have it; 143 for SIGTERM."""
        return 143 if self.reason == "SIGTERM" else 130

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise KeyboardInterrupt in the main thread at once, for work that cannot look at this object."""
        self._raise = True
        try:
            if self():
                raise KeyboardInterrupt
            yield
        finally:
            self._raise = False

    def ask(self, reason: str) -> None:
        """Request the end; only the first request counts."""
        if self._asked.is_set():
            return
        self.reason = reason
        self._asked.set()
        if self._last_resort is not None:
            timer = threading.Timer(GRACE_S, self._force)
            timer.daemon = True
            timer.start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.ask("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)
        if self._raise:
            raise KeyboardInterrupt

    def _watch_supervisor(self) -> None:
        # os.read and not sys.stdin, whose lock would block the interpreter's own shutdown.
        while os.read(sys.stdin.fileno(), 1024):
            pass
        self.ask("semtb run ended")

    def _force(self) -> None:
        try:
            if self._last_resort is not None:
                self._last_resort()
        finally:
            os._exit(self.exit_status)
