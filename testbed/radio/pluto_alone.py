"""One process of this machine at a time sets up a Pluto."""

from __future__ import annotations

import errno
import hashlib
import socket
import time

from testbed.errors import RadioError

ALONE_S = 30.0  # setting up takes a second or two; with several waiting, each waits for those before it
BUSY_PAUSE_S = 0.02


def held_name(what: str, address: str) -> bytes:
    """A name of Linux's abstract sockets for one use of the Pluto at ``address``."""
    return f"\0semtb-pluto-{what}-{hashlib.sha256(address.encode()).hexdigest()[:16]}".encode()


class Alone:
    """One process of this machine at a time sets up a Pluto: rate and FIR take several writes, and have one owner.

    Held is a name of Linux's abstract sockets: no file, so nothing can be laid in its way; whoever runs as another
    user is kept apart, too; and it is free again however its process ends.

    Raises
    ------
    RadioError
        If another process holds it for longer than setting up takes.
    """

    def __init__(self, address: str, wait_s: float = ALONE_S) -> None:
        self._address, self._wait_s = address, wait_s
        self._name = held_name("setup", address)

    def __enter__(self) -> None:
        self._held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end = time.monotonic() + self._wait_s
        while True:
            try:
                self._held.bind(self._name)
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                    self._held.close()
                    raise RadioError(
                        f"{self._address}: another process has been setting it up for {self._wait_s:.0f} s "
                        f"({error.strerror}); `grep semtb-pluto /proc/net/unix` shows that it is held: end that one"
                    ) from error
            time.sleep(BUSY_PAUSE_S)

    def __exit__(self, *exc: object) -> None:
        self._held.close()
