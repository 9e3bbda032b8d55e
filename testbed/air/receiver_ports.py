"""Ports at which samples leave the air: to who asks (REP), or to who listens (PUB, PUSH)."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import zmq

from testbed.air.ports import Port, PortTerms, clipped_in, energy_of
from testbed.air.zmq_links import Outlet
from testbed.radio.responder import Responder
from testbed.radio.sockets import FLUSH_MS, Link

HOLD_S = 0.25  # of samples that wait for a reader in real pace; who is later than that loses what comes


class ReceiverPort(Port):
    """One antenna's samples on their way to whoever receives."""

    def __init__(self, link: Link, label: str, external: bool, terms: PortTerms) -> None:
        super().__init__(link, label, "rx", external, terms)

    @property
    @abstractmethod
    def attached(self) -> bool:
        """Whether somebody receives."""

    @abstractmethod
    def accept(self) -> None:
        """Take in what the peer says."""

    @abstractmethod
    def serve(self) -> None:
        """Hand out what is ready."""

    def push(self, samples: np.ndarray) -> None:
        """Queue [n] complex64 that the air has mixed; they are waited with."""
        if not self.queue.held:
            self.link.progressed()
        self.queue.push(samples)

    def offer(self, samples: np.ndarray) -> None:
        """As `push`, in real pace: nobody is waited for, and what a late reader loses is counted."""
        if not self.attached:
            self.queue.clear()
        elif self.queue.held + len(samples) > max(len(samples), HOLD_S * self.terms.rate_hz):
            self.queue.lose(len(samples))
            self.meter.lose(len(samples))
            self.terms.count(f"{self.name}: samples lost, because they were taken too late", len(samples))
        else:
            self.queue.push(samples)

    def _handed_out(self, samples: np.ndarray) -> None:
        self.meter.add(len(samples), energy_of(samples), clipped_in(samples))
        self.name_return()


class AnsweringPort(ReceiverPort):
    """REP: answers its one peer's open request."""

    link: Responder

    def __init__(
        self,
        context: zmq.Context,
        endpoint: str,
        name: str,
        label: str,
        external: bool,
        terms: PortTerms,
        slice_samples: int,
    ) -> None:
        link = Responder(context, endpoint, name, terms.timeout_s, slice_samples, terms.count)
        super().__init__(link, label, external, terms)

    @property
    def attached(self) -> bool:
        """Whether a peer has asked, and is there."""
        return self.link.served

    def accept(self) -> None:
        """Take in a request."""
        self.link.accept()

    def serve(self) -> None:
        """Answer the open request with whatever is ready; a request for nothing gets nothing."""
        wanted = self.link.pending
        told = self.link.hears_of_losses and self.queue.lost > 0
        if wanted is None or (wanted and not self.queue.held and not told):
            return
        lost, samples = self.queue.pop_run(wanted)
        if not self.link.answer(samples, lost):
            self.queue.put_back(lost, samples)
        elif len(samples):
            self._handed_out(samples)

    def check(self, needed: bool) -> None:
        """See `Port.check`: it is waited for while it does not fetch what waits for it."""
        unfetched = self.queue.held > 0 and self.link.pending is None
        super().check(needed and (unfetched or self.terms.realtime))


class OutletPort(ReceiverPort):
    """PUB or PUSH: sends block by block while somebody listens."""

    link: Outlet

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
        super().__init__(Outlet(context, endpoint, name, terms.timeout_s, pattern), label, external, terms)
        self._pattern = pattern

    @property
    def attached(self) -> bool:
        """Whether anybody listens."""
        return self.link.peers > 0

    def accept(self) -> None:
        """Take in who comes and goes."""
        self.link.accept()

    def serve(self) -> None:
        """Send what is ready, as far as there is room."""
        self.link.accept()
        if self._pattern == "push-pull" and self.link.peers > 1:
            self.terms.count(f"{self.name}: {self.link.peers} PULL sockets are connected, and each gets a part only")
        while self.queue.held and self.attached:
            lost, samples = self.queue.pop_run(self.queue.held)
            if not self.link.send(samples):
                self.queue.put_back(lost, samples)
                return
            self._handed_out(samples)

    def check(self, needed: bool) -> None:
        """See `Port.check`."""
        super().check(needed and (self.queue.held > 0 or self.terms.realtime))

    def close(self) -> None:
        """Free the socket; what it holds may still leave."""
        self.link.close(FLUSH_MS)
