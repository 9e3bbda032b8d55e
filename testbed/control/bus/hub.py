"""The server's end of the control bus."""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec
import zmq

from testbed.control.bus.wire import HEARTBEAT_S, POLL_MS, SILENCE_S, End, decode, encode, is_loopback
from testbed.control.messages import AnyMessage, Heartbeat, Ready, Stop
from testbed.errors import AddressInUse, PeerLost, ProtocolError, RunIncomplete, ScenarioError, SemtbError

EVENTS_KEPT = 256  # that the server has not polled yet; when full the newest is dropped and counted
SAY_WHO_IS_MISSING_S = 3.0

log = logging.getLogger(__name__)


class Lost(msgspec.Struct, frozen=True):
    """A member is gone: its connection ended, it fell silent, or it said why it gives up."""

    reason: str


class Hub(End):
    """The server's end. Binds ``address``, answers members, and tells of those that vanish.

    Raises
    ------
    ScenarioError
        If the address is not one of this machine's own: the bus is not secured, so nobody else may reach it.
    AddressInUse
        If the port is taken.
    """

    def __init__(self, address: str, name: str = "server") -> None:
        super().__init__(zmq.ROUTER, address)
        self.name = name
        self.progress: dict[str, Heartbeat] = {}
        self.malformed: Counter[str] = Counter()
        self.dropped = 0
        self._events: queue.Queue[tuple[str, AnyMessage | Lost]] = queue.Queue(EVENTS_KEPT)
        self._orders: queue.SimpleQueue[tuple[str, AnyMessage]] = queue.SimpleQueue()
        self._seen: dict[str, float] = {}
        self._ready: dict[str, Ready] = {}
        self._last_order: AnyMessage | None = None
        try:
            self._bind()
        except SemtbError:
            self.close()
            raise
        self._start(self._run, f"hub-{self.port}")

    def __enter__(self) -> Hub:
        return self

    def _bind(self) -> None:
        if not is_loopback(self.host):
            raise ScenarioError(
                f"control = {self.address}: the control bus is not secured yet and binds to this machine alone; "
                f"use tcp://127.0.0.1:{self.port} and, from another machine, ssh -L {self.port}:127.0.0.1:{self.port}"
            )
        # A message to a member whose connection ended is then an error and not a silent loss.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            self._socket.bind(self.address.replace("localhost", "127.0.0.1"))
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise AddressInUse(
                    f"{self.address}: this port is taken, perhaps by another run. Choose other ports with "
                    f"--set net.port_base=0, or end who holds it: ss -ltnp 'sport = :{self.port}' names it"
                ) from error
            raise ScenarioError(f"control = {self.address}: cannot be bound: {error.strerror}") from error

    def wait_ready(self, names: Iterable[str], should_stop: Callable[[], bool] = lambda: False) -> dict[str, Ready]:
        """Wait until every one of ``names`` is ready; say now and then who is missing.

        Raises
        ------
        PeerLost
            If one that had reported is gone again.
        RunIncomplete
            If ``should_stop`` says so first.
        """
        wanted = list(names)
        ready: dict[str, Ready] = {}
        others: list[tuple[str, AnyMessage | Lost]] = []
        say_at = time.monotonic() + SAY_WHO_IS_MISSING_S
        while missing := [name for name in wanted if name not in ready]:
            if should_stop():
                raise RunIncomplete(f"stopped while waiting for {', '.join(missing)}")
            event = self.poll(0.1)
            if event is not None and event[0] in (*wanted, self.name):
                node, message = event
                if isinstance(message, Lost):
                    raise PeerLost(f"{node} is gone: {message.reason}")
                if isinstance(message, Ready):
                    ready[node] = message
            elif event is not None and event not in others:
                others.append(event)
            if time.monotonic() >= say_at:
                log.info("waiting for %s", ", ".join(self._preparing(name) for name in missing))
                say_at += SAY_WHO_IS_MISSING_S
        for node, message in others:  # of who is not waited for: for whoever polls next
            self._put(node, message)
        return ready

    def _preparing(self, name: str) -> str:
        beat = self.progress.get(name)
        if beat is None:
            return f"{name} (not heard of at {self.address})"
        return f"{name} (preparing, {beat.progress} of {beat.of})" if beat.of else f"{name} (preparing)"

    def broadcast(self, message: AnyMessage) -> None:
        """Send to every member that is there; who says Ready later is answered with it, too."""
        self._orders.put(("", message))

    def send(self, node: str, message: AnyMessage) -> None:
        """Send to one member; lost if it is gone, of which ``poll`` tells."""
        encode(message)  # too large is the caller's error, not the thread's
        self._orders.put((node, message))

    def poll(self, timeout_s: float) -> tuple[str, AnyMessage | Lost] | None:
        """The next event (a member's name, and its message or its loss), or None. Heartbeats go to ``progress``."""
        try:
            return self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get_nowait()
        except queue.Empty:
            return None

    def _run(self) -> None:
        beat_at = time.monotonic()
        last_round = False
        while not last_round:
            last_round = self._closing.is_set()
            while self._socket.poll(0 if last_round else POLL_MS):
                frames = self._socket.recv_multipart()
                self._take(frames[0].decode("utf-8", "backslashreplace"), frames[0], frames[1:])
            while not self._orders.empty():
                to, order = self._orders.get()
                if not to:
                    self._last_order = order
                for node in [to] if to else list(self._seen):
                    self._send(node, order)
            now = time.monotonic()
            if now >= beat_at:
                beat_at = now + HEARTBEAT_S
                for node, seen in list(self._seen.items()):
                    if now - seen > SILENCE_S:
                        self._lose(node, f"silent for {SILENCE_S:.0f} s")
                    else:
                        self._send(node, Heartbeat(node=self.name))

    def _take(self, node: str, identity: bytes, frames: list[bytes]) -> None:
        try:
            message = decode(b"".join(frames), node)
            if getattr(message, "node", node) != node:
                raise ProtocolError(f"{node}: sent a message in the name of {message.node!r}")  # type: ignore[union-attr]
        except ProtocolError as error:
            self.malformed[node] += 1
            if self.malformed[node] == 1:
                log.warning("%s (more of these are only counted)", error)
            try:  # so that the other end learns that this one is of another kind
                self._socket.send_multipart([identity, encode(Heartbeat(node=self.name))], zmq.NOBLOCK)
            except zmq.ZMQError:
                log.debug("%s is gone already", node)
            return
        new = node not in self._seen
        self._seen[node] = time.monotonic()
        if isinstance(message, Heartbeat):
            self.progress[node] = message
        elif isinstance(message, Ready):
            if self._ready.get(node) != message:
                self._ready[node] = message
                self._put(node, message)
            if self._last_order is not None:
                self._send(node, self._last_order)
        elif isinstance(message, Stop):
            self._lose(node, message.reason or "it left")
            return
        else:
            self._put(node, message)
        if new:
            self._send(node, Heartbeat(node=self.name))

    def _send(self, node: str, message: AnyMessage) -> None:
        try:
            self._socket.send_multipart([node.encode(), encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                self._lose(node, "its connection ended")
            elif error.errno != zmq.EAGAIN:  # a full queue: the silence limit decides
                raise

    def _lose(self, node: str, reason: str) -> None:
        if self._seen.pop(node, None) is not None:
            self._ready.pop(node, None)
            self._put(node, Lost(reason))

    def _put(self, node: str, event: AnyMessage | Lost) -> None:
        try:
            self._events.put_nowait((node, event))
        except queue.Full:
            self.dropped += 1
            log.warning("%s: %d events dropped, nobody polls them", node, self.dropped)

    def _failed(self, reason: str) -> None:
        self._put(self.name, Lost(reason))


@contextmanager
def hosting(address: str, name: str, tell: Callable[[str], None]) -> Iterator[Hub]:
    """A hub for one run: ``bound ADDRESS`` is told, and however the run ends, every member hears that and why."""
    with Hub(address, name) as hub:
        tell(f"bound {address}")
        reason = "the server ended"
        try:
            yield hub
            reason = ""
        except BaseException as error:
            reason = str(error) or type(error).__name__
            raise
        finally:
            hub.broadcast(Stop(reason=reason))
