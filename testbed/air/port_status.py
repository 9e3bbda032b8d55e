"""What passes through each port of the air while it runs: rate, level, clipped, lost, late; one line, or JSON lines."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable

import msgspec


class PortStatus(msgspec.Struct, frozen=True):
    """One direction of one port since it was looked at before; counts are since the start."""

    port: str  # of a node or a device, with its channel if it has several
    direction: str  # tx: into the air; rx: out of it
    rate_hz: float  # samples a second of each channel
    level_dbfs: float | None  # rms; None: nothing but silence
    clipped: int  # samples at or beyond full scale
    lost: int  # samples that passed while nobody took them
    late: int  # samples of silence that went out in place of some that were not there in time


class PortMeter:
    """Counts of one direction of one port; any thread may add to it.

    Parameters
    ----------
    port : str
    direction : str
        ``tx`` or ``rx``.
    """

    def __init__(self, port: str, direction: str) -> None:
        self.port, self.direction = port, direction
        self.clipped = self.lost = self.late = 0
        self._lock = threading.Lock()
        self._count, self._energy = 0, 0.0
        self._since_s: float | None = None

    def add(self, count: int, energy: float, clipped: int = 0) -> None:
        r"""Samples that passed.

        Parameters
        ----------
        count : int
        energy : float
            :math:`\sum |x|^2` of them, full scale 1.0.
        clipped : int
            How many of them are at or beyond full scale.
        """
        with self._lock:
            self._count += count
            self._energy += energy
            self.clipped += clipped

    def lose(self, count: int) -> None:
        """So many passed while nobody took them."""
        with self._lock:
            self.lost += count

    def miss(self, count: int) -> None:
        """So many were not there in time; silence went out."""
        with self._lock:
            self.late += count

    def status(self, now_s: float) -> PortStatus:
        """How it stands; rate and level are of the time since the last call.

        Parameters
        ----------
        now_s : float
            Of a monotonic clock.

        Returns
        -------
        PortStatus
        """
        with self._lock:
            span_s = 0.0 if self._since_s is None else now_s - self._since_s
            rate_hz = self._count / span_s if span_s > 0 else 0.0
            level = 10 * math.log10(self._energy / self._count) if self._energy > 0 else None
            self._since_s, self._count, self._energy = now_s, 0, 0.0
            return PortStatus(self.port, self.direction, rate_hz, level, self.clipped, self.lost, self.late)


def json_line(time_s: float, ports: Iterable[PortStatus]) -> str:
    """One line of JSON: ``{"time_s": ..., "ports": [...]}``.

    Parameters
    ----------
    time_s : float
        Since the air began.
    ports : iterable of PortStatus

    Returns
    -------
    str
    """
    return msgspec.json.encode({"time_s": round(time_s, 3), "ports": list(ports)}).decode()


def text_lines(ports: Iterable[PortStatus]) -> list[str]:
    """A line for each port, for a person; its columns keep their width.

    Parameters
    ----------
    ports : iterable of PortStatus

    Returns
    -------
    list of str
    """
    return [
        f"{p.port:<16} {p.direction}  {p.rate_hz / 1e6:7.3f} MS/s  "
        f"{'  silent  ' if p.level_dbfs is None else f'{p.level_dbfs:5.1f} dBFS'}  "
        f"clipped {p.clipped}  lost {p.lost}  late {p.late}"
        for p in ports
    ]
