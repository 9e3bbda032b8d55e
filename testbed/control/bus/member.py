"""The end of the control bus that every node but the server has."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import zmq
from zmq.utils.monitor import recv_monitor_message

from testbed.control.bus.mailbox import WINDOW
from testbed.control.bus.pieces import Reassembly, in_frames
from testbed.control.bus.wire import (
    CONNECT_S,
    FLUSH_MS,
    FRAMES_AT_ONCE,
    HEARTBEAT_S,
    POLL_MS,
    SILENCE_S,
    End,
    decode,
    encode,
    parse_address,
    probe,
)
from testbed.control.messages import (
    AnyMessage,
    Heartbeat,
    Hello,
    Piece,
    Ready,
    Result,
    ResultFile,
    Start,
    Stop,
    Taken,
)
from testbed.errors import PeerLost, PeerUnreachable, ProtocolError, RunIncomplete, SemtbError

INBOX = 64  # messages that a node has not taken yet; one that takes none has left the protocol
WINDOW_BYTES = 2**25  # said and not taken by the server, unless a single message is larger
LOOK_S = 0.05

log = logging.getLogger(__name__)


def await_server(address: str, name: str, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Wait until something listens at the server's address; cheap, so that a node can ask before it loads anything.

    Raises
    ------
    PeerUnreachable
        Within 5 s, naming the address.
    """
    host, port = parse_address(address)
    end = time.monotonic() + CONNECT_S
    while reason := probe(host, port):
        if time.monotonic() > end:
            raise PeerUnreachable(unreachable(name, address, reason))
        if should_stop():
            return
        time.sleep(0.1)


def unreachable(name: str, address: str, reason: str) -> str:
    """One line: who does not answer where, why, and what to do."""
    return (
        f"{name}: no server answers at {address} ({reason}). Start it first: semtb server CONFIG; "
        f"its address is the key `control` of each node's file"
    )


class Member(End):
    """The end of every node that is not the server. Connects, and keeps telling that the node lives.

    At most ``WINDOW`` of its messages, or ``WINDOW_BYTES``, are on the way or wait at the server; who says more waits
    until the server has taken some, so that nothing is lost however much a node has to say and however long the
    server works. A node that lets more than ``INBOX`` messages of the server lie fails.

    Parameters
    ----------
    address : str
    name : str
    role : str
        One of `testbed.control.messages.MAY_SAY`, which says what such a node may say.
    should_stop : callable

    Raises
    ------
    PeerUnreachable
        Within 5 s, naming the address, if no server of ours answers there.
    """

    def __init__(self, address: str, name: str, role: str, should_stop: Callable[[], bool] = lambda: False) -> None:
        super().__init__(zmq.DEALER, address)
        self.name = name
        self.role = role
        self._should_stop = should_stop
        self._beat = Heartbeat(node=name)
        self._orders: queue.Queue[bytes] = queue.Queue(WINDOW)  # encoded; whoever says more waits
        self._counted = 0  # messages that count, since Hello
        self._untaken: deque[int] = deque()  # their bytes, as far as the server has not taken them
        self._next: bytes | None = None  # for which the window has no room yet
        self._backlog: deque[bytes] = deque()  # frames for which the socket has no room yet
        self._coming = Reassembly()
        self._last_words: Stop | None = None
        self._inbox: queue.Queue[AnyMessage] = queue.Queue(INBOX)
        self._ready: Ready | None = None
        self._started: Start | None = None
        self._stop_reason: str | None = None
        self._failure: SemtbError | None = None
        self._answered = threading.Event()  # the hub said something
        self._news = threading.Event()  # Start, Stop or failure
        self._socket.setsockopt(zmq.ROUTING_ID, name.encode())
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._socket.connect(address)
        self._start(self._run, f"member-{name}")
        while not self._answered.wait(0.05) and self._failure is None and not should_stop():
            pass
        if self._failure is not None:
            self.close()
            raise self._failure

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[1] is not None and self._stop_reason is None:
            self._last_words = Stop(reason=str(exc[1]) or type(exc[1]).__name__)
        self.close()

    @property
    def stop_reason(self) -> str | None:
        """None while the run goes on, empty when all is done, else what went wrong."""
        return self._stop_reason

    def ready(self, samples_planned: int = 0, frames_planned: int = 0) -> Start:
        """Say that this node can begin and wait for Start, for as long as the others take.

        Raises
        ------
        PeerLost
            If the server goes away meanwhile.
        RunIncomplete
            If the run is stopped before it starts.
        """
        self._ready = Ready(node=self.name, samples_planned=samples_planned, frames_planned=frames_planned)
        while self._started is None:
            if self._failure is not None:
                raise self._failure
            if self._stop_reason is not None:
                raise RunIncomplete(self._stop_reason or "the run ended before it started")
            if self._should_stop():
                raise RunIncomplete("stopped before the run started")
            self._news.wait(0.05)
        return self._started

    def heartbeat(self, progress: int, of: int) -> None:
        """Set what the next heartbeat tells; costs nothing, may be called for each block."""
        self._beat = Heartbeat(node=self.name, progress=progress, of=of)

    def result(self, values: dict[str, object], files: Iterable[tuple[str, bytes]] = ()) -> None:
        """Hand files for the run folder, by name, and then what was measured, to the server.

        Files are taken from the iterable as fast as the server takes them, so that they need not all be there at once.
        """
        count = 0
        for name, data in files:
            self.say(ResultFile(node=self.name, name=name, data=data))
            count += 1
        self.say(Result(node=self.name, values=values, files=count))

    def say(self, message: AnyMessage) -> None:
        """Send any message to the server. Waits while the server takes none and the window is full.

        Raises
        ------
        ProtocolError
            If the message is larger than the bus carries.
        RunIncomplete, PeerLost
            If the run ends, or the server goes away, before there is room.
        """
        data = encode(message)
        while True:
            try:
                self._orders.put(data, timeout=LOOK_S)
                return
            except queue.Full:
                if self._failure is not None:
                    raise self._failure from None
                if self._stop_reason is not None or self._should_stop():
                    reason = self._stop_reason or "the run ended"
                    raise RunIncomplete(f"{self.name}: {reason}, before all was said") from None

    def hear(self, timeout_s: float) -> AnyMessage | None:
        """The next message of the server that is neither Start, Stop nor Heartbeat, or None. One may come twice."""
        try:
            return self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _run(self) -> None:
        begun = heard = time.monotonic()
        ready_at = beat_at = 0.0
        connected = last_round = False
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        end = 0.0
        while not last_round or (self._backlog and connected and not self._failure and time.monotonic() < end):
            if self._closing.is_set() and not last_round:
                last_round, end = True, time.monotonic() + FLUSH_MS / 1e3
            ready = dict(poller.poll(1 if last_round else POLL_MS))
            now = time.monotonic()
            for _ in range(FRAMES_AT_ONCE):
                if self._socket not in ready or not self._socket.poll(0):
                    break
                heard = now
                self._take(b"".join(self._socket.recv_multipart()))
            while self._monitor in ready and self._monitor.poll(0):
                event = recv_monitor_message(self._monitor)["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    connected, heard = True, now
                    self._send(encode(Hello(node=self.name, role=self.role)))
                elif self._answered.is_set():
                    self._fail(PeerLost(f"the server at {self.address} went away"))
                else:
                    connected = False
            if not connected and now - begun > CONNECT_S:
                self._fail(PeerUnreachable(self._why_unreachable()))
            if connected and now - heard > SILENCE_S:
                self._fail(self._silent())
            if connected and self._failure is None:
                self._give(everything=last_round)
                if self._ready and not self._started and now >= ready_at:
                    ready_at = now + HEARTBEAT_S
                    self._send(encode(self._ready))
                if now >= beat_at and not last_round and not self._backlog:
                    beat_at = now + HEARTBEAT_S
                    self._send(encode(self._beat))
                if last_round and self._last_words is not None:
                    self._send(encode(self._last_words))
                    self._last_words = None
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.setsockopt(zmq.LINGER, FLUSH_MS if connected and self._failure is None else 0)

    def _give(self, everything: bool) -> None:
        """Send what is to be said, as far as the window allows; in closing all of it, for which the server has room."""
        self._send(b"")
        while not self._backlog:
            if self._next is None:
                try:
                    self._next = self._orders.get_nowait()
                except queue.Empty:
                    return
            full = len(self._untaken) >= WINDOW or sum(self._untaken) + len(self._next) > WINDOW_BYTES
            if self._untaken and full and not everything:
                return
            self._untaken.append(len(self._next))
            self._counted += 1
            self._send(self._next)
            self._next = None

    def _send(self, data: bytes) -> None:
        """Encoded bytes to the server, behind what waits for room in the socket; nothing is passed over."""
        if data:
            self._backlog.extend(in_frames(data))
        try:
            while self._backlog:
                self._socket.send(self._backlog[0], zmq.NOBLOCK)
                self._backlog.popleft()
        except zmq.Again:  # the server reads nothing: the silence limit decides
            log.debug("%s: the server at %s takes no messages", self.name, self.address)

    def _take(self, data: bytes) -> None:
        try:
            message = decode(data, f"the server at {self.address}")
            if isinstance(message, Piece):
                whole = self._coming.take(message, f"the server at {self.address}")
                if whole is None:
                    return
                message = decode(whole, f"the server at {self.address}")
        except ProtocolError as error:
            self._fail(error)
            return
        if isinstance(message, Taken):
            while self._untaken and self._counted - len(self._untaken) < message.count:
                self._untaken.popleft()
        elif isinstance(message, Start) and self._started is None:
            self._started = message
            self._news.set()
        elif isinstance(message, Stop) and self._stop_reason is None:
            self._stop_reason = message.reason
            self._news.set()
        elif not isinstance(message, (Start, Stop, Heartbeat)):
            try:
                self._inbox.put_nowait(message)
            except queue.Full:
                self._fail(ProtocolError(f"the server at {self.address} sends more than {self.name} is to take"))
        self._answered.set()

    def _fail(self, error: SemtbError) -> None:
        if self._failure is None and self._stop_reason is None and not self._closing.is_set():
            self._failure = error
            self._stop_reason = str(error)
            self._news.set()

    def _failed(self, reason: str) -> None:
        self._fail(PeerLost(reason))

    def _why_unreachable(self) -> str:
        reason = probe(self.host, self.port) or "something listens there, but it is not the control bus"
        return unreachable(self.name, self.address, reason)

    def _silent(self) -> SemtbError:
        if self._answered.is_set():
            return PeerLost(f"the server at {self.address} is silent for {SILENCE_S:.0f} s")
        return PeerUnreachable(
            f"{self.name}: what listens at {self.address} does not answer. "
            f"Is another node named {self.name} there already?"
        )
