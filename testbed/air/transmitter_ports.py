"""Ports at which samples come into the air: asked for (REQ), or taken as they come (SUB, PULL)."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import zmq

from testbed.air.levels import LevelMeter
from testbed.air.ports import Port, PortTerms, clipped_in, energy_of
from testbed.air.zmq_links import Inlet
from testbed.radio.sockets import Link, Requester, samples_of

STARVED_S = 1.0  # of silence in the place of a peer's samples, after which it is named
ROOM_S = 0.25  # of samples that a publisher in real pace may be ahead; what comes beyond is lost, and counted
TAGS = b"\xf0\x5f\x01"  # begins the header that gr-zeromq puts before samples where it passes tags: 0x5FF0, version 1


class TransmitterPort(Port):
    """One user's samples on their way to the medium."""

    WHAT = "message"

    def __init__(self, link: Link, label: str, external: bool, terms: PortTerms) -> None:
        super().__init__(link, label, "tx", external, terms)
        self.level = LevelMeter()
        self._sending = False
        self._silent = 0  # samples of silence in its place since it last sent

    @property
    def readable(self) -> bool:
        """Whether what lies in its socket is wanted now."""
        return True

    @abstractmethod
    def want(self, count: int) -> None:
        """So many samples are wanted in the queue."""

    @abstractmethod
    def take(self) -> None:
        """Read one message, if one is there."""

    def block(self, count: int) -> np.ndarray:
        """[count] complex64 in real pace: what is there, and silence in the place of what is not.

        Silence of a peer that is there and was sending is counted as late, until it is named for it.
        """
        samples = self.queue.pop(min(count, self.queue.held))
        missing = count - len(samples)
        if not missing:
            return samples
        self._sending = self._sending and self.link.there
        if self._sending:
            self.meter.miss(missing)
        self._silent += missing
        if self._silent >= STARVED_S * self.terms.rate_hz:
            self._sending = False
            self.name_absence(f"{self.name} sends nothing: silence goes out in its place")
        return np.concatenate([samples, np.zeros(missing, np.complex64)])

    def _accept(self, parts: list[bytes], frames: int) -> None:
        """Store the samples of a message; what is none is counted by name."""
        samples = samples_of(parts[-1:]) if 1 <= len(parts) <= frames else None
        if samples is None:
            tagged = parts[-1][:3] == TAGS if parts else False
            hint = ": it bears tags, set Pass Tags to No there" if tagged else ""
            self.terms.count(f"{self.name}: {self.WHAT} that is no whole number of samples{hint}")
        elif len(samples):
            finite = np.isfinite(samples)
            if not finite.all():
                self.terms.count(f"{self.name}: samples that are not finite", int((~finite).sum()))
                samples = np.where(finite, samples, np.complex64(0))
            self.level.add(samples)
            self.meter.add(len(samples), energy_of(samples), clipped_in(samples))
            self._store(samples)
            self._sending = True
            silent, self._silent = self._silent, 0
            self.name_return(f" after {silent} samples of silence" if silent else "")
            self.link.progressed()

    def _store(self, samples: np.ndarray) -> None:
        self.queue.push(samples)


class AskedPort(TransmitterPort):
    """REQ: at most one request is on its way."""

    WHAT = "answer"
    link: Requester

    def __init__(
        self, context: zmq.Context, endpoint: str, name: str, label: str, external: bool, terms: PortTerms
    ) -> None:
        self._arguments = context, endpoint, name, terms.timeout_s
        super().__init__(Requester(*self._arguments), label, external, terms)

    def want(self, count: int) -> None:
        """Ask for what is lacking."""
        if self.queue.held < count:
            self.link.ask(count - self.queue.held)

    def take(self) -> None:
        """Store an answer; one that is none is counted, and asked for again."""
        parts = self.link.answer()
        if parts is None:
            self.terms.count(f"{self.name}: message that is no answer to a request")
        else:
            self._accept(parts, 1)

    def check(self, needed: bool) -> None:
        """See `Port.check`; a peer that left with a request unanswered is asked anew when it returns."""
        super().check(needed and self.link.waiting)
        if self.external and self.link.abandoned and not self.link.socket.poll(0):
            instead = "silence goes out in its place" if self.terms.realtime else "it is waited for"
            self.name_absence(f"{self.name} went away; {instead}")
            self.link.close()
            self.link = Requester(*self._arguments)


class InletPort(TransmitterPort):
    """SUB or PULL: it comes as it comes. In lock step, and from a PUSH socket always, the sender waits for the air."""

    link: Inlet

    def __init__(
        self,
        context: zmq.Context,
        endpoint: str,
        name: str,
        label: str,
        external: bool,
        terms: PortTerms,
        pattern: str,
    ) -> None:
        super().__init__(Inlet(context, endpoint, name, terms.timeout_s, pattern), label, external, terms)
        self._waits = pattern == "push-pull" or not terms.realtime
        self._wanted = 0

    @property
    def readable(self) -> bool:
        """A sender that is to wait is not heard before its samples are wanted."""
        return not self._waits or self.queue.held < self._wanted

    def want(self, count: int) -> None:
        """Remember it."""
        self._wanted = count

    def check(self, needed: bool) -> None:
        """See `Port.check`."""
        super().check(needed and self.queue.held < self._wanted)

    def take(self) -> None:
        """Store a message: samples, or a key and samples."""
        if (parts := self.link.receive()) is not None:
            self._accept(parts, 2)

    def _store(self, samples: np.ndarray) -> None:
        room = len(samples) if self._waits else max(0, round(ROOM_S * self.terms.rate_hz) - self.queue.held)
        self.queue.push(samples[:room])
        if lost := len(samples[room:]):
            self.meter.lose(lost)
            self.terms.count(f"{self.name}: samples lost, because it sends faster than the air's rate", lost)
