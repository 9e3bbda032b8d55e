"""The end of the control bus that every node but the server has."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

import zmq
from zmq.utils.monitor import recv_monitor_message

from testbed.control.bus.wire import (
    CONNECT_S,
    FLUSH_MS,
    HEARTBEAT_S,
    POLL_MS,
    SILENCE_S,
    End,
    decode,
    encode,
    parse_address,
    probe,
)
from testbed.control.messages import AnyMessage, Artifact, Heartbeat, Ready, Result, Start, Stop
from testbed.errors import PeerLost, PeerUnreachable, ProtocolError, RunIncomplete, SemtbError

INBOX = 64  # messages that a node has not taken yet; one that takes none has left the protocol

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
        self._orders: queue.SimpleQueue[AnyMessage] = queue.SimpleQueue()
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
            self._orders.put(Stop(reason=str(exc[1]) or type(exc[1]).__name__))
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
        self._ready = Ready(
            node=self.name, role=self.role, samples_planned=samples_planned, frames_planned=frames_planned
        )
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

    def result(self, values: dict[str, object], artifacts: Sequence[Artifact] = ()) -> None:
        """Hand what was measured, and files for the run folder, to the server."""
        message = Result(node=self.name, values=values, artifacts=list(artifacts))
        encode(message)  # too large is the caller's error, not the thread's
        self._orders.put(message)

    def say(self, message: AnyMessage) -> None:
        """Send any message to the server."""
        encode(message)  # too large is the caller's error, not the thread's
        self._orders.put(message)

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
        while not last_round:
            last_round = self._closing.is_set()
            ready = dict(poller.poll(0 if last_round else POLL_MS))
            now = time.monotonic()
            while self._socket in ready and self._socket.poll(0):
                heard = now
                self._take(b"".join(self._socket.recv_multipart()))
            while self._monitor in ready and self._monitor.poll(0):
                event = recv_monitor_message(self._monitor)["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    connected, heard = True, now
                elif self._answered.is_set():
                    self._fail(PeerLost(f"the server at {self.address} went away"))
                else:
                    connected = False
            if not connected and now - begun > CONNECT_S:
                self._fail(PeerUnreachable(self._why_unreachable()))
            if connected and now - heard > SILENCE_S:
                self._fail(self._silent())
            if connected and self._failure is None:
                while not self._orders.empty():
                    self._say(self._orders.get())
                if self._ready and not self._started and now >= ready_at:
                    ready_at = now + HEARTBEAT_S
                    self._say(self._ready)
                if now >= beat_at and not last_round:
                    beat_at = now + HEARTBEAT_S
                    self._say(self._beat)
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.setsockopt(zmq.LINGER, FLUSH_MS if connected and self._failure is None else 0)

    def _say(self, message: AnyMessage) -> None:
        try:
            self._socket.send(encode(message), zmq.NOBLOCK)
        except zmq.Again:  # the server reads nothing: the silence limit decides
            log.warning("%s: the server at %s takes no messages", self.name, self.address)

    def _take(self, data: bytes) -> None:
        try:
            message = decode(data, f"the server at {self.address}")
        except ProtocolError as error:
            self._fail(error)
            return
        if isinstance(message, Start) and self._started is None:
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
