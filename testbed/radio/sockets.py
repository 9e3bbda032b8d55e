"""ZeroMQ sockets as radios and the air use them: bounded waits, and the knowledge whether a peer is there.

Who asks is here, who answers in `testbed.radio.responder`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from testbed.errors import AddressInUse, PeerLost, PeerUnreachable, RadioError
from testbed.radio.probe import pattern_at, probe

ITEM = 8  # bytes of a complex64 sample
MAX_MESSAGE_BYTES = 64 * 2**20  # 4 s at 1.92 MS/s; never trust a length from the wire
POLL_MS = 50  # how long an order to stop may go unseen
LOST_S = 1.0  # a peer that had been connected and is not back after this is gone; its request is lost anyway
CLOSE_S = 0.3  # a thread sees an order to stop well within this
FLUSH_MS = 200  # a closing transmitter's last answer may still lie in its socket
STALL_S = 60.0  # connected, but does not go on: long enough for a peer that compiles kernels or encodes a large picture
LOSSES = b"loss"  # ends a request whose answer shall say what was lost
ASK_AGAIN_S = 5e-3  # after an answer without samples
HEARTBEAT_MS = 1000  # between ZMTP heartbeats, which libzmq itself answers; they unmask a stopped or unplugged peer

CONNECTION = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_DISCONNECTED
)


class Link(ABC):
    """One socket and the knowledge whether its peer is there; used by one thread at a time. See its two kinds.

    Parameters
    ----------
    context : zmq.Context
    kind : int
        Of the socket.
    endpoint : str
        ``tcp://host:port``, IPv6 addresses in brackets.
    name : str
        Who the peer is, in words for messages.
    timeout_s : float
        After which a peer that never connected is named.

    Attributes
    ----------
    stall_s : float
        How long a peer that is there may do nothing; 60 s unless set.
    """

    LACKS = ""  # what a peer that is there fails to do

    def __init__(self, context: zmq.Context, kind: int, endpoint: str, name: str, timeout_s: float) -> None:
        self.endpoint = endpoint
        self.name = name
        self.timeout_s = timeout_s
        self.stall_s = STALL_S
        self.socket = context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDTIMEO, POLL_MS),
            (zmq.RCVTIMEO, POLL_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, int(timeout_s * 1e3)),
            (zmq.RECONNECT_IVL, POLL_MS),
            (zmq.IPV6, 1),
        ):
            self.socket.setsockopt(option, value)
        place = f"inproc://monitor-{id(self)}"
        self.socket.monitor(place, CONNECTION)
        self.monitor = context.socket(zmq.PAIR)
        self.monitor.setsockopt(zmq.RCVHWM, 0)  # a full one would stop all traffic of the context
        self.monitor.connect(place)
        self._known = False  # a peer has been there
        self._since = time.monotonic()

    def watch(self) -> None:
        """Read what the socket's monitor has seen, without waiting."""
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)
            self._note(event["event"], event["value"])

    def progressed(self) -> None:
        """The peer did what it should: its time starts anew."""
        self._since = time.monotonic()

    def check(self) -> None:
        """Raise if the peer has kept us waiting too long.

        Raises
        ------
        PeerUnreachable
            If it never connected within ``timeout_s``; the message says what did instead.
        PeerLost
            If it went away, or is there but does not go on for ``stall_s``.
        """
        self.watch()
        waited = time.monotonic() - self._since
        if self._is_there():
            if waited > self.stall_s:
                who = f"{self.name} at {self.endpoint}"
                raise PeerLost(f"{who} is connected but {self.LACKS} for {self.stall_s:.0f} s{self._besides()}")
        elif self._known:
            if waited > LOST_S:
                raise PeerLost(f"{self.name} at {self.endpoint} went away{self._what_is_left()}")
        elif waited > self.timeout_s:
            raise PeerUnreachable(
                f"{self.name} does not answer at {self.endpoint} within {self.timeout_s:g} s: {self._why_absent()}"
            )

    @property
    def there(self) -> bool:
        """Whether the peer is there, by what `watch` has seen."""
        return self._is_there()

    def close(self, linger_ms: int = 0) -> None:
        """Free the socket; what it holds may still leave within ``linger_ms`` while the context ends."""
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)

    @abstractmethod
    def _note(self, event: int, value: int) -> None:
        """Take in one event of the monitor."""

    @abstractmethod
    def _is_there(self) -> bool: ...

    @abstractmethod
    def _why_absent(self) -> str: ...

    def _besides(self) -> str:
        return ""

    def _what_is_left(self) -> str:
        return ""


class Requester(Link):
    """Asks one peer, which is bound (REP), for samples: connects a REQ socket.

    ``with_losses`` asks in the testbed's own way, so that a peer of its own says how many samples it lost.

    Raises
    ------
    RadioError
        If the endpoint is none.
    """

    LACKS = "sends nothing"

    def __init__(
        self, context: zmq.Context, endpoint: str, name: str, timeout_s: float, with_losses: bool = False
    ) -> None:
        super().__init__(context, zmq.REQ, endpoint, name, timeout_s)
        self._with_losses = with_losses
        self._shaken = False
        self._unsent: bytes | None = None
        self._fruitless = False  # the last answer brought no sample, and the time that the peer is given runs on
        self._not_before = 0.0
        self.asked = False
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.setsockopt(zmq.RCVHWM, 2)  # answers; a peer that sends more than it is asked for waits
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise explained(error, endpoint, name) from None

    @property
    def abandoned(self) -> bool:
        """Whether who was asked has left: its answer will not come, and this socket cannot ask another."""
        return self.asked and self._unsent is None and self._known and not self._shaken

    @property
    def waiting(self) -> bool:
        """Whether samples were asked for and have not come."""
        return self.asked or self._fruitless

    def ask(self, count: int) -> None:
        """Ask for at most ``count`` samples, unless a request is open or an answer without samples just came."""
        if self.asked or time.monotonic() < self._not_before:
            return
        if not self._fruitless:
            self.progressed()
        self.asked = True
        self._unsent = request(count, self._with_losses)
        self._send()

    def progressed(self) -> None:
        """As `Link.progressed`: samples came."""
        super().progressed()
        self._fruitless = False
        self._not_before = 0.0

    def watch(self) -> None:
        """As `Link.watch`; a request that found no connection is sent once there is one."""
        super().watch()
        self._send()

    def _send(self) -> None:
        if self._unsent is not None:
            try:
                self.socket.send(self._unsent, zmq.NOBLOCK)
                self._unsent = None
            except zmq.Again:  # libzmq has cut off what is there
                pass

    def answer(self) -> list[bytes] | None:
        """The frames that came; None if libzmq found no answer in them, and the request is still open.

        If they hold samples, `progressed` is to be called.
        """
        try:
            frames = self.socket.recv_multipart()
        except zmq.Again:
            return None
        self.asked, self._fruitless, self._not_before = False, True, time.monotonic() + ASK_AGAIN_S
        return frames

    def _note(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._shaken = self._known = True
            self.progressed()
        elif event == zmq.EVENT_DISCONNECTED and self._shaken:  # only who shook hands can leave
            self._shaken = False
            self.progressed()

    def _is_there(self) -> bool:
        return self._shaken

    def _why_absent(self) -> str:
        return probe(self.endpoint)

    def _what_is_left(self) -> str:
        """libzmq cuts off who answers a request with what is no answer."""
        kind = pattern_at(self.endpoint)
        return (
            "" if kind in (None, "REP") else f": a ZeroMQ {kind} socket is there, which answered as no REP socket does"
        )


def explained(error: zmq.ZMQError, endpoint: str, name: str) -> RadioError | AddressInUse:
    """What a failed bind or connect means, and what to do."""
    if error.errno == zmq.EADDRINUSE:
        return AddressInUse(
            f"{endpoint} (for {name}) is in use by another process: end it, or choose another port "
            "(net.port_base = 0 takes free ones)"
        )
    return RadioError(
        f"{endpoint} (for {name}): {error.strerror}: write it as tcp://ADDRESS:PORT, an address of this host, "
        "IPv6 in brackets"
    )


def request(count: int, with_losses: bool = False) -> bytes:
    """The request of gr-zeromq's ``req_source``, or one of the testbed's own that wants to know of lost samples.

    Parameters
    ----------
    count : int
        Samples wanted at most, below 2^32.
    with_losses : bool
        The answer shall have a frame before the samples: 8 bytes, how many were lost before them.

    Returns
    -------
    bytes
        4, little-endian; ``LOSSES`` behind them where losses are asked for.
    """
    return count.to_bytes(4, "little") + (LOSSES if with_losses else b"")


def requested(body: bytes, one_byte: int) -> int | None:
    """How many samples a request asks for.

    Parameters
    ----------
    body : bytes
        4 bytes say how many, little-endian, as gr-zeromq has it; srsRAN's one byte means ``one_byte``; ``LOSSES`` may
        stand behind the 4.
    one_byte : int
        Samples.

    Returns
    -------
    int or None
        None if it is no request.
    """
    if len(body) == 8 and body.endswith(LOSSES):
        body = body[:4]
    if len(body) not in (1, 4):
        return None
    return int.from_bytes(body, "little") if len(body) == 4 else one_byte


def samples_of(parts: list[bytes]) -> np.ndarray | None:
    """The samples of an answer.

    Parameters
    ----------
    parts : list of bytes
        Frames of a message.

    Returns
    -------
    [n] complex64 or None
        Full scale 1.0, but a foreign peer may send anything. None if it is not one frame of whole samples.
    """
    if len(parts) != 1 or len(parts[0]) % ITEM:
        return None
    return np.frombuffer(parts[0], dtype="<c8")
