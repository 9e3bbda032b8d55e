"""A small process beside each one that transmits: it mutes the Pluto when its owner ends, however that happens.

The owner holds the writing end of a pipe, and the kernel closes it with the process: after an exception, a signal,
kill -9 or a crash. The watchdog waits at the other end, in a session of its own, where neither Ctrl-C nor a signal to
the owner's process group reaches it. It imports libiio before its owner may transmit, and next to nothing of the
testbed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import syslog
import threading
import time
from pathlib import Path
from typing import Any
from weakref import WeakSet

from testbed.errors import RadioError
from testbed.radio.pluto_alone import held_name
from testbed.radio.pluto_mute import mute

DONE, READY = b"done\n", b"ready\n"
START_S = 20.0  # for an interpreter to start, and for the watchdog of a transmitter that just ended to finish its work
TRY_S = 20.0  # for a device that does not answer when it is to be muted
PAUSE_S = 0.2
CONTEXT_MS = 3000  # for each call to libiio
SIGNALLED_S = 5.0  # what ends a whole group of services also ends the owner, which mutes by itself: it comes first


class Watchdog:
    """The owner's half: starts the process, and tells it when there is nothing left to do.

    Parameters
    ----------
    address : str
        As libiio has it: ``ip:192.168.2.1`` or ``usb:1.4.5``.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        here = Path(__file__).resolve().parents[2]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "testbed.radio.pluto_watchdog", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a pipe of the owner's that it held would keep who reads it waiting
            start_new_session=True,
            env=environment,
            cwd="/",
        )
        assert self._process.stdin is not None
        self._pipe: int | None = os.dup(self._process.stdin.fileno())
        self._process.stdin.close()
        HELD.add(self)

    def await_ready(self) -> None:
        """Return once it watches.

        Raises
        ------
        RadioError
            If it cannot, or another process of this machine transmits with this Pluto.
        """
        out = self._process.stdout
        assert out is not None
        readable, _, _ = select.select([out], [], [], START_S + SIGNALLED_S)
        word = os.read(out.fileno(), 200) if readable else b""
        if word != READY:
            why = word.decode(errors="replace").strip() or "it did not start"
            raise RadioError(f"{self._address}: not transmitting without its watchdog: {why}")

    @property
    def watches(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def dismiss(self) -> None:
        """The transmitter is mute: nothing is left to do."""
        if self._pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, DONE)
        self.release()

    def release(self) -> None:
        """Let it do its work, now."""
        self.let_go()
        if self._process.stdout is not None:
            self._process.stdout.close()
        threading.Thread(target=self._process.wait, name="pluto-watchdog-end", daemon=True).start()

    def let_go(self) -> None:
        """Close the pipe."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.close(pipe)


HELD: WeakSet[Watchdog] = WeakSet()


def _let_go_of_all() -> None:
    """In a forked child, which else would keep the pipe open when its parent is killed."""
    for watchdog in list(HELD):
        watchdog.let_go()


os.register_at_fork(after_in_child=_let_go_of_all)


def main(address: str) -> int:
    """Wait for the owner's end, then mute; 1 if that was not possible."""
    import iio

    deadline_s: list[float] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: deadline_s.append(time.monotonic() + SIGNALLED_S))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as owned:
        if not _bound(owned, held_name("transmit", address), START_S):
            os.write(1, b"another process of this machine transmits with it; end that one")
            return 1
        os.write(1, READY)
        if not _owner_is_done(deadline_s):
            return _mute_at_last(iio, address)
    return 0


def _owner_is_done(deadline_s: list[float]) -> bool:
    """Whether the owner muted by itself; False if its end of the pipe closed before, or a signal says to end."""
    word = b""
    while not (deadline_s and time.monotonic() > deadline_s[0]):
        if select.select([0], [], [], PAUSE_S if deadline_s else 1.0)[0]:
            part = os.read(0, len(DONE))
            word += part
            if not part or word == DONE:
                break
    return word == DONE


def _mute_at_last(iio: Any, address: str) -> int:
    end_s = time.monotonic() + TRY_S
    while True:
        try:
            context = iio.Context(address)
            context.set_timeout(CONTEXT_MS)
            mute(context)
            syslog.syslog(syslog.LOG_WARNING, f"semtb: {address}: muted: the process that transmitted ended without it")
            return 0
        except Exception as error:  # whatever a library of C makes of a device that went away
            if time.monotonic() > end_s:
                syslog.syslog(syslog.LOG_ERR, f"semtb: {address}: could not be muted ({error}): switch it off")
                return 1
        time.sleep(PAUSE_S)


def _bound(held: socket.socket, name: bytes, wait_s: float) -> bool:
    """Whether the name is this process's; the one that had it before may be about to end."""
    end_s = time.monotonic() + wait_s
    while True:
        try:
            held.bind(name)
            return True
        except OSError:
            if time.monotonic() > end_s:
                return False
        time.sleep(PAUSE_S / 4)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
