"""A line for each port of the air while it runs: kept up to date on a terminal, or as JSON lines for a program."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from testbed.air.port_status import PortStatus, json_line, text_lines

EVERY_S = 1.0
UP = "\x1b[{}A"  # ECMA-48: cursor up
CLEAR = "\x1b[K"  # erase to the end of the line


class LiveLine:
    """Shows ports once a second; call `look` at least as often.

    Parameters
    ----------
    status : callable
        Seconds of the monotonic clock to a list of PortStatus.
    as_json : bool
        One line of JSON a second on standard output. Otherwise, where standard error is a terminal, a line for each
        port that is written over; elsewhere nothing, so that logs stay short.
    """

    def __init__(self, status: Callable[[float], Sequence[PortStatus]], as_json: bool = False) -> None:
        self._status, self._as_json = status, as_json
        self._begun_s = self._next_s = time.monotonic()
        self._shown = 0

    def look(self, out: TextIO | None = None) -> None:
        """Show, if it is time.

        Parameters
        ----------
        out : file, optional
            In place of standard output or error.
        """
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + EVERY_S
        ports = self._status(now_s)
        stream = out or (sys.stdout if self._as_json else sys.stderr)
        if self._as_json:
            stream.write(json_line(now_s - self._begun_s, ports) + "\n")
        elif stream.isatty():
            stream.write(UP.format(self._shown) if self._shown else "")
            stream.writelines(f"{line}{CLEAR}\n" for line in text_lines(ports))
            self._shown = len(ports)
        else:
            return
        stream.flush()
