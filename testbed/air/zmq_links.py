"""Sockets of the patterns in which nobody asks: samples that come (SUB, PULL) and samples that go (PUB, PUSH).

As in GNU Radio, who has samples binds and who wants them connects; who asks is in `testbed.radio.sockets`.
"""

from __future__ import annotations

import numpy as np
import zmq

from testbed.radio.sockets import MAX_MESSAGE_BYTES, Link, explained

MESSAGES = 8  # in a socket towards each peer, or from it: beyond, a sender waits, or what has no room is counted
BUFFER_BYTES = 1 << 20  # in the kernel, a tenth of a second at 1.92 MS/s: a late reader is noticed that soon
PATTERNS = {"pub-sub": (zmq.SUB, zmq.XPUB), "push-pull": (zmq.PULL, zmq.PUSH)}


class Inlet(Link):
    """Takes what one peer sends of itself: connects a SUB or PULL socket.

    Parameters
    ----------
    context, endpoint, name, timeout_s
        See `testbed.radio.sockets.Link`.
    pattern : str
        ``pub-sub`` or ``push-pull``.

    Raises
    ------
    RadioError
        If the endpoint is none.
    """

    LACKS = "sends nothing"

    def __init__(self, context: zmq.Context, endpoint: str, name: str, timeout_s: float, pattern: str) -> None:
        super().__init__(context, PATTERNS[pattern][0], endpoint, name, timeout_s)
        self._pattern = pattern
        self._shaken = False
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.setsockopt(zmq.RCVHWM, MESSAGES)
        self.socket.setsockopt(zmq.RCVBUF, BUFFER_BYTES)
        if pattern == "pub-sub":
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise explained(error, endpoint, name) from None

    def receive(self) -> list[bytes] | None:
        """The frames of a message, if one is there."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _note(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._shaken = self._known = True
            self.progressed()
        elif event == zmq.EVENT_DISCONNECTED and self._shaken:
            self._shaken = False
            self.progressed()

    def _is_there(self) -> bool:
        return self._shaken

    def _why_absent(self) -> str:
        return f"no ZeroMQ {'PUB' if self._pattern == 'pub-sub' else 'PUSH'} socket is bound there"


class Outlet(Link):
    """Gives samples to whoever connects: binds a PUB or PUSH socket.

    A PUB socket gives every subscriber every sample, and waits for the slowest of them (XPUB_NODROP), so that what is
    lost is known here and nowhere else. Of several peers of a PUSH socket each would get a part: that is reported.

    Raises
    ------
    AddressInUse, RadioError
        If the endpoint cannot be bound.
    """

    LACKS = "takes nothing"

    def __init__(self, context: zmq.Context, endpoint: str, name: str, timeout_s: float, pattern: str) -> None:
        super().__init__(context, PATTERNS[pattern][1], endpoint, name, timeout_s)
        self._pattern = pattern
        self._open: set[int] = set()
        self._handshakes = 0
        self._subscriptions = 0
        self.keys: set[bytes] = set()  # that somebody subscribed to, of samples that bear none
        self.socket.setsockopt(zmq.SNDHWM, MESSAGES)
        self.socket.setsockopt(zmq.SNDBUF, BUFFER_BYTES)
        if pattern == "pub-sub":
            self.socket.setsockopt(zmq.XPUB_NODROP, 1)
            self.socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise explained(error, endpoint, name) from None

    @property
    def peers(self) -> int:
        """How many take what is sent."""
        return self._subscriptions if self._pattern == "pub-sub" else len(self._open) if self._handshakes else 0

    def accept(self) -> None:
        """Take in who subscribes and who leaves."""
        while self._pattern == "pub-sub":
            try:
                word = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            if word[:1] in (b"\0", b"\1") and len(word) > 1:
                self.keys.add(word[1:65])
            elif word in (b"\0", b"\1"):
                self._subscriptions += 1 if word == b"\1" else -1
                self._known = True
                self.progressed()
        self.watch()

    def send(self, samples: np.ndarray) -> bool:
        """Send [n] complex64; False if there is no room, and nothing was sent."""
        try:
            self.socket.send(samples, zmq.NOBLOCK)
        except zmq.Again:
            return False
        self.progressed()
        return True

    def _note(self, event: int, value: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._open.add(value)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._handshakes += 1
            self._known = self._known or self._pattern == "push-pull"
            self.progressed()
        elif event == zmq.EVENT_DISCONNECTED:
            self._open.discard(value)
            if not self._open:
                self._handshakes = 0
                self.progressed()

    def _is_there(self) -> bool:
        return self.peers > 0

    def _why_absent(self) -> str:
        if self.keys:
            return f"a subscriber wants the key {min(self.keys)!r}: samples bear no key, leave it empty"
        return "nobody subscribed" if self._pattern == "pub-sub" else "nobody connected"
