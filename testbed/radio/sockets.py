"""ZeroMQ sockets as radios and the air use them: bounded waits, and the knowledge whether a peer is there."""

from __future__ import annotations

import socket as tcp
import time
from urllib.parse import urlsplit

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from testbed.errors import AddressInUse, PeerLost, PeerUnreachable, RadioError

ITEM = 8  # bytes of a complex64 sample
MAX_MESSAGE_BYTES = 64 * 2**20  # 4 s at 1.92 MS/s; never trust a length from the wire
POLL_MS = 50  # how long an order to stop may go unseen
LOST_S = 1.0  # a peer that had been connected and is not back after this is gone; its request is lost anyway
CLOSE_S = 0.3  # a thread sees an order to stop well within this
FLUSH_MS = 200  # a closing transmitter's last answer may still lie in its socket
STALL_S = 60.0  # connected, but does not go on: long enough for a peer that compiles kernels or encodes a large picture
HEARTBEAT_MS = 1000  # between ZMTP heartbeats, which libzmq itself answers; they unmask a stopped or unplugged peer

CONNECTION = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class Link:
    """One socket to one peer, used by one thread at a time.

    Parameters
    ----------
    context : zmq.Context
    kind : int
        ``zmq.REP`` binds the endpoint, ``zmq.REQ`` connects to it.
    endpoint : str
        ``tcp://host:port``
    name : str
        Who the peer is, in words for messages.
    timeout_s : float
        After which a peer that never connected is named.

    Raises
    ------
    AddressInUse, RadioError
        If the endpoint cannot be bound.
    """

    def __init__(self, context: zmq.Context, kind: int, endpoint: str, name: str, timeout_s: float) -> None:
        self.endpoint = endpoint
        self.name = name
        self.timeout_s = timeout_s
        self.socket = context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDTIMEO, POLL_MS),
            (zmq.RCVTIMEO, POLL_MS),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, int(timeout_s * 1e3)),
            (zmq.RECONNECT_IVL, POLL_MS),
        ):
            self.socket.setsockopt(option, value)
        self.monitor = self.socket.get_monitor_socket(CONNECTION)
        self.peers = 0
        self._known = False
        self._since = time.monotonic()
        try:
            if kind == zmq.REP:
                self.socket.bind(endpoint)
            else:
                self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise explained(error, endpoint, name) from None

    def watch(self) -> None:
        """Read what the socket's monitor has seen, without waiting."""
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)["event"]
            self.peers += 1 if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else -1 if self.peers else 0
            self._known = self._known or self.peers > 0
            self._since = time.monotonic()

    def progressed(self) -> None:
        """The peer did what it should: its time starts anew."""
        self._since = time.monotonic()

    def check(self, what: str) -> None:
        """Raise if the peer has kept us waiting too long.

        Raises
        ------
        PeerUnreachable
            If it never connected within ``timeout_s``.
        PeerLost
            If it went away, or is there but does not go on for 60 s.
        """
        self.watch()
        waited = time.monotonic() - self._since
        if self.peers:
            if waited > STALL_S:
                raise PeerLost(f"{self.name} at {self.endpoint} is connected but {what} for {STALL_S:.0f} s")
        elif self._known:
            if waited > LOST_S:
                raise PeerLost(f"{self.name} at {self.endpoint} went away")
        elif waited > self.timeout_s:
            if self.socket.type == zmq.REP:
                reason = "nobody connected"
            else:
                reason = probe(self.endpoint) or "something listens there, but it is no ZeroMQ REP socket"
            raise PeerUnreachable(
                f"{self.name} does not answer at {self.endpoint} within {self.timeout_s:g} s: {reason}"
            )

    def close(self, linger_ms: int = 0) -> None:
        """Free the socket; what it holds may still leave within ``linger_ms`` while the context ends."""
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)


def explained(error: zmq.ZMQError, endpoint: str, name: str) -> RadioError | AddressInUse:
    """What a failed bind or connect means, and what to do."""
    if error.errno == zmq.EADDRINUSE:
        return AddressInUse(
            f"{endpoint} (for {name}) is in use by another process: end it, or choose another port "
            "(net.port_base = 0 takes free ones)"
        )
    return RadioError(
        f"{endpoint} (for {name}): {error.strerror}: write it as tcp://ADDRESS:PORT, an address of this host"
    )


def probe(endpoint: str, timeout_s: float = 0.5) -> str:
    """Why a TCP connection to the endpoint fails, in words; empty if it succeeds."""
    parts = urlsplit(endpoint)
    try:
        tcp.create_connection((parts.hostname or "", parts.port or 0), timeout_s).close()
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def request(count: int) -> bytes:
    """The request of gr-zeromq's ``req_source`` for at most ``count`` samples."""
    return count.to_bytes(4, "little")


def requested(parts: list[bytes], one_byte: int) -> int | None:
    """Samples that a request asks for: 4 bytes say how many, srsRAN's one byte means ``one_byte``; None if neither."""
    if len(parts) != 1 or len(parts[0]) not in (1, 4):
        return None
    return int.from_bytes(parts[0], "little") if len(parts[0]) == 4 else one_byte


def samples_of(parts: list[bytes]) -> np.ndarray | None:
    """The complex64 samples of a message; None if it is not one frame of whole samples."""
    if len(parts) != 1 or len(parts[0]) % ITEM:
        return None
    return np.frombuffer(parts[0], dtype="<c8")
