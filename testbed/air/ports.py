"""What the ports of the air have in common: a peer that may leave and return, counts, and the words for them."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Callable

import msgspec
import numpy as np

from testbed.air.port_status import PortMeter
from testbed.air.sample_queue import SampleQueue
from testbed.errors import PeerLost, PeerUnreachable
from testbed.radio.sockets import Link

Count = Callable[..., None]  # an event in words, and how often it happened

log = logging.getLogger(__name__)


class PortTerms(msgspec.Struct, frozen=True):
    """What holds for all ports of one air."""

    rate_hz: float
    timeout_s: float  # after which a peer that never came is named
    realtime: bool  # who is late is not waited for
    count: Count


class Port(ABC):  # noqa: B024 - its kinds say what is abstract
    """One endpoint, its queue and its counts.

    Parameters
    ----------
    link : Link
    label : str
        Short, for a status line.
    direction : str
        ``tx`` or ``rx``.
    external : bool
        Whether the peer is somebody else's program: when it is not there it is named, and taken up when it returns.
    terms : PortTerms
    """

    ABSENT = ""  # what takes its place in real pace

    def __init__(self, link: Link, label: str, direction: str, external: bool, terms: PortTerms) -> None:
        self.link = link
        self.external = external
        self.queue = SampleQueue()
        self.meter = PortMeter(label, direction)
        self.terms = terms
        self._named = False  # its absence was

    @property
    def name(self) -> str:
        """Who is at its other end, and where."""
        return f"{self.link.name} at {self.link.endpoint}"

    def check(self, needed: bool) -> None:
        """Look after the peer; ``needed``: it keeps the air waiting.

        Raises
        ------
        PeerUnreachable, PeerLost
            If it is not there, unless it may be absent.
        """
        if not needed:
            self.link.watch()
        elif self.terms.realtime:
            self.link.watch()
            if not self.link.there and not self.external:
                self.link.check()
        elif self.external:
            try:
                self.link.check()
            except (PeerLost, PeerUnreachable) as error:
                self.link.progressed()
                self.name_absence(f"{error}; it is waited for")
        else:
            self.link.check()

    def name_absence(self, words: str) -> None:
        """Say once that nothing comes from it or goes to it."""
        if not self._named:
            self._named = True
            self.terms.count(words)

    def name_return(self, words: str = "") -> None:
        """It goes on."""
        if self._named:
            self._named = False
            log.info("%s goes on%s", self.name, words)

    def close(self) -> None:
        """Free the socket."""
        self.link.close()


def energy_of(samples: np.ndarray) -> float:
    """Sum of squares of [n] complex64; not finite where it is beyond float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.vdot(samples, samples).real)


def clipped_in(samples: np.ndarray) -> int:
    """How many of [n] complex64 are at or beyond full scale in either part."""
    parts = np.ascontiguousarray(samples).view(np.float32)
    if not len(parts) or max(parts.max(), -parts.min()) < 1.0:
        return 0
    return int(np.count_nonzero((np.abs(parts) >= 1.0).reshape(-1, 2).any(axis=1)))
