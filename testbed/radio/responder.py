"""The answering end of a ZeroMQ port: one peer is served, whoever else comes is named and changes nothing."""

from __future__ import annotations

import socket as tcp
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import zmq

from testbed.radio.sockets import LOSSES, Link, explained, requested

MAX_REQUEST_BYTES = 256  # libzmq drops who sends more; a request has 4
MAX_WAITING = 64  # messages unread, and peers that wait for the place of the one that is served
MAX_NAMED = 16  # culprits named apart; a flood of them is counted together
PATTERN = "a request comes from a REQ socket, as GNU Radio's ZMQ REQ Source and srsRAN's rx_port are"


class Peer(NamedTuple):
    """A connection that has asked."""

    identity: bytes
    descriptor: int
    address: str


class Responder(Link):
    """Is asked for samples by one peer: binds a socket that takes REQ peers.

    A ROUTER socket, because a REP socket says neither who sent what it cannot read nor who asks. The first that asks
    is the peer. Requests of others are kept until it leaves, then the next in line is served; what is no request is
    dropped. Each such thing goes to ``report``, with the sender's address.

    Parameters
    ----------
    context, endpoint, name, timeout_s
        See `testbed.radio.sockets.Link`.
    slice_samples : int
        What srsRAN's request of one byte asks for.
    report : callable
        Called with one line for each message that is dropped or kept waiting.

    Attributes
    ----------
    pending : int or None
        Samples that the peer has asked for and not been given.

    Raises
    ------
    AddressInUse, RadioError
        If the endpoint cannot be bound.
    """

    LACKS = "asks for nothing"

    def __init__(
        self,
        context: zmq.Context,
        endpoint: str,
        name: str,
        timeout_s: float,
        slice_samples: int,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(context, zmq.ROUTER, endpoint, name, timeout_s)
        self.pending: int | None = None
        self._with_losses = False  # what is pending was asked for so
        self._slice = slice_samples
        self._report = report
        self._peer: Peer | None = None
        self._line: dict[Peer, tuple[int, bool]] = {}  # who waits, for how many samples, and whether with losses
        self._open: dict[int, str] = {}  # descriptor and address of each connection
        self._new: set[int] = set()  # of these, who may not have shaken hands yet
        self._handshakes = 0  # since a peer last left
        self._failed = False  # the connection that closes next failed its handshake, and that was told
        self._foreign = ""
        self._named: set[str] = set()
        for option, value in (
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.MAXMSGSIZE, MAX_REQUEST_BYTES),
            (zmq.RCVHWM, MAX_WAITING),
        ):
            self.socket.setsockopt(option, value)
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise explained(error, endpoint, name) from None

    def accept(self) -> None:
        """Read one message, if one is there."""
        try:
            frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return
        self.watch()  # whatever happened to connections before this message was sent is known behind this
        sender = self._sender(frames)
        if sender is None or len(frames) != 3 or len(frames[1]):
            self._tell(sender, f"a message that is no request: {PATTERN}")
            return
        body = frames[2].bytes
        count, with_losses = requested(body, self._slice), body[4:] == LOSSES
        if count is None:
            self._tell(sender, f"a request of {len(body)} bytes: allowed are 4 and 1")
            self._send(sender, b"")  # so that its socket is not stuck
        elif self._peer is None or sender.identity == self._peer.identity:
            self._peer, self.pending, self._known = sender, count, True
            self._with_losses = with_losses
        else:
            self._tell(sender, f"a request, while {self._peer.address} is served: one peer at a time")
            if sender in self._line or len(self._line) < MAX_WAITING:
                self._line[sender] = count, with_losses

    @property
    def served(self) -> bool:
        """Whether somebody has asked, and is there."""
        return self._peer is not None

    @property
    def hears_of_losses(self) -> bool:
        """Whether the open request wants to know what was lost."""
        return self._with_losses

    def answer(self, samples: np.ndarray, lost: int = 0) -> bool:
        """Send what ``pending`` asks for.

        Parameters
        ----------
        samples : [n] complex64
            A request for nothing gets nothing; one that asks for nothing for ever is not waited for.
        lost : int
            Samples lost before these; said if the request wants to know.

        Returns
        -------
        bool
            False if the peer is gone and nothing was sent.
        """
        assert self._peer is not None
        self.pending = None
        if len(samples):
            self.progressed()
        if self._with_losses:
            return self._send(self._peer, lost.to_bytes(8, "little"), samples)
        return self._send(self._peer, samples)

    def _send(self, peer: Peer, *body: object) -> bool:
        try:
            self.socket.send_multipart([peer.identity, b"", *body])
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            return False
        return True

    def _sender(self, frames: list[zmq.Frame]) -> Peer | None:
        """Who sent this; None if the connection does not say, as those of ZMTP 1 do not."""
        try:
            descriptor = int(frames[-1].get(zmq.SRCFD))
        except zmq.ZMQError:
            return None
        address = self._open.get(descriptor) or str(frames[-1].get("Peer-Address"))
        return Peer(frames[0].bytes, descriptor, address)

    def _tell(self, sender: Peer | None, what: str) -> None:
        """Report, naming the first few culprits."""
        who = sender.address if sender else "a peer that speaks no ZMTP 3"
        if who not in self._named and len(self._named) >= MAX_NAMED:
            who = "others"
        self._named.add(who)
        self._report(f"{self.name} at {self.endpoint}: {who} sent {what}")

    def _note(self, event: int, value: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._open[value] = address_of(value)
            self._new.add(value)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._handshakes += 1
            self._known = True
            self._new.clear()  # the event does not say whose
            self.progressed()
        elif event == zmq.EVENT_DISCONNECTED:
            self._left(value)
        else:
            self._failed = True

    def _left(self, descriptor: int) -> None:
        """A connection closed: that of the peer, of one in line, of one that never shook hands."""
        self._open.pop(descriptor, None)
        self._line = {peer: count for peer, count in self._line.items() if peer.descriptor != descriptor}
        if self._peer is not None and self._peer.descriptor == descriptor:
            self._peer = self.pending = None
            self._handshakes = 0
            self.progressed()
            if self._line:
                self._peer = next(iter(self._line))
                self.pending, self._with_losses = self._line.pop(self._peer)
        elif self._failed:
            self._foreign = "something connected that speaks no ZeroMQ"
        elif descriptor in self._new:  # libzmq closes without a word where the pattern does not fit
            self._foreign = f"a ZeroMQ socket of another pattern connected: {PATTERN}"
        elif not self._open:
            self.progressed()
        self._failed = False
        self._new.discard(descriptor)

    def _is_there(self) -> bool:
        return self._peer is not None or bool(self._handshakes and self._open)

    def _why_absent(self) -> str:
        return self._foreign or "nobody connected"

    def _besides(self) -> str:
        others = ", ".join(peer.address for peer in self._line)
        return f"; others that ask there: {others}" if others else ""


def address_of(descriptor: int) -> str:
    """``host:port`` of a connection's far end; empty if it is closed already."""
    try:
        with tcp.socket(fileno=tcp.dup(descriptor)) as connection:
            host, port = connection.getpeername()[:2]
    except (OSError, ValueError):
        return ""
    host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
