"""Whether a Pluto on the network still answers while libiio waits for it, and an end to that wait if it does not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

IIOD_PORT = 30431
QUIET_S = 1.0  # a call to libiio that waits for so long is looked into, and as often
LOOK_S = 0.2
MAX_LINE = 64


def silence(host: str, timeout_s: float, port: int = IIOD_PORT) -> str:
    """Why nothing there speaks libiio's protocol, in words; empty if it does.

    A process that was stopped is connected to all the same: only an answer tells.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(b"VERSION\r\n")
            reply = connection.recv(MAX_LINE)
            if reply[:1].isdigit():
                connection.sendall(b"EXIT\r\n")
                return ""
            return "what answers there does not speak libiio's protocol" if reply else "it closed the connection"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return (error.strerror or str(error)).lower()


class Watch:
    """A thread that looks after calls to libiio, which waits for up to a minute for a device that is slow.

    Parameters
    ----------
    address : str
        As libiio has it; only devices at ``ip:`` can be asked beside the call that waits.
    timeout_s : float
        For an answer, before the device is given up.
    ask : callable, optional
        Given host and timeout: why there is no answer, or nothing.
    """

    def __init__(self, address: str, timeout_s: float, ask: Callable[[str, float], str] = silence) -> None:
        kind, _, self._host = address.partition(":")
        self.reason = ""  # why the device is given up
        self._timeout_s = timeout_s
        self._ask = ask
        self._waits: dict[int, tuple[Any, float]] = {}  # of a thread: the buffer that it waits for, and since when
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._networked = kind == "ip"
        if self._networked:
            threading.Thread(target=self._run, name="pluto-watch", daemon=True).start()

    @contextmanager
    def over(self, buffer: Any) -> Iterator[None]:
        """Around a call that waits for this libiio buffer; it is cancelled when the device is given up."""
        me = threading.get_ident()
        with self._lock:
            self._waits[me] = buffer, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._waits[me]

    def answers(self) -> bool:
        """Whether the device is there, asked now."""
        if self._networked and not self.reason:
            self.reason = self._ask(self._host, QUIET_S)
        return not self.reason

    def close(self) -> None:
        """End the thread, soon."""
        self._closing.set()

    def _run(self) -> None:
        asked_s = 0.0
        while not self._closing.wait(LOOK_S):
            now_s = time.monotonic()
            with self._lock:
                overdue = any(now_s - since > QUIET_S for _, since in self._waits.values())
            if not overdue or now_s - asked_s < QUIET_S:
                continue
            reason = self._ask(self._host, self._timeout_s)
            asked_s = time.monotonic()
            if reason:
                self.reason = reason
                with self._lock:
                    for buffer, _ in self._waits.values():
                        buffer.cancel()
                return
