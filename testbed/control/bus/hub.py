"""The server's end of the control bus."""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import zmq

from testbed.control.bus.mailbox import MAX_WAITING, Mailbox
from testbed.control.bus.pieces import Reassembly, in_frames
from testbed.control.bus.wire import (
    FLUSH_MS,
    FRAMES_AT_ONCE,
    HEARTBEAT_S,
    POLL_MS,
    SILENCE_S,
    End,
    decode,
    encode,
    is_loopback,
)
from testbed.control.messages import MAY_SAY, AnyMessage, Heartbeat, Hello, Piece, Ready, Stop, Taken
from testbed.errors import AddressInUse, PeerLost, ProtocolError, RunIncomplete, ScenarioError, SemtbError

MEMBERS = 4096  # at once; who comes when the hub is full is told so
BACKLOG_BYTES = 2**30  # for one member that takes nothing; then it counts as lost. Frames are shared between members
HALF_ARRIVED_BYTES = 2**30  # of all messages that are coming in pieces, over all members
SAY_WHO_IS_MISSING_S = 3.0
GUESTS = ("observer", "operator")  # roles of those that a run does not wait for

log = logging.getLogger(__name__)


class Lost(msgspec.Struct, frozen=True):
    """A member is gone: its connection ended, it fell silent, it gave up and said why, or it broke the rules."""

    reason: str


class Peer(msgspec.Struct, eq=False):
    """What the hub knows of a member."""

    heard_at: float
    role: str = ""  # empty until it has said Hello
    ready: Ready | None = None
    taken: int = 0  # of its messages, by the server
    coming: Reassembly = msgspec.field(default_factory=Reassembly)
    backlog: deque[bytes] = msgspec.field(default_factory=deque)  # frames that its queue had no room for
    backlog_bytes: int = 0


class Hub(End):
    """The server's end. Binds ``address``, answers members, and tells of those that vanish.

    What members say waits in a `Mailbox`; its policy stands there. What is said to members waits for each of them, up
    to ``BACKLOG_BYTES``; a member that takes nothing for so long is lost, and named.

    Parameters
    ----------
    address : str
    name : str
    roles : mapping, optional
        The role of each node that the run waits for. Nobody can join under its name with another role, and who joins
        under another name can only be an observer or an operator. That keeps a node from what its role may not say; it
        is no proof of who somebody is, since whoever runs on this machine can join as a guest.

    Raises
    ------
    ScenarioError
        If the address is not one of this machine's own: the bus is not secured, so nobody else may reach it.
    AddressInUse
        If the port is taken.
    """

    def __init__(self, address: str, name: str = "server", roles: Mapping[str, str] | None = None) -> None:
        super().__init__(zmq.ROUTER, address)
        self.name = name
        self.progress: dict[str, Heartbeat] = {}
        self.malformed: Counter[str] = Counter()
        self._roles = dict(roles) if roles is not None else None
        self._events: Mailbox[AnyMessage | Lost] = Mailbox()
        self._orders: queue.SimpleQueue[tuple[str, Sequence[bytes], bool]] = queue.SimpleQueue()
        self._takings: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._peers: dict[str, Peer] = {}
        self._refused: dict[str, None] = {}  # members that were sent away and are still connected
        self._last_order: Sequence[bytes] = ()
        self._beat = encode(Heartbeat(node=name))
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
        """Wait until every one of ``names`` is ready; say now and then who is missing. Others' events stay.

        Raises
        ------
        PeerLost
            If one that had reported is gone again.
        RunIncomplete
            If ``should_stop`` says so first.
        """
        wanted = list(names)
        watched = {*wanted, self.name}
        ready: dict[str, Ready] = {}
        say_at = time.monotonic() + SAY_WHO_IS_MISSING_S
        while missing := [name for name in wanted if name not in ready]:
            if should_stop():
                raise RunIncomplete(f"stopped while waiting for {', '.join(missing)}")
            event = self.poll(0.1, watched)
            if event is not None:
                node, message = event
                if isinstance(message, Lost):
                    raise PeerLost(f"{node} is gone: {message.reason}")
                if isinstance(message, Ready):
                    ready[node] = message
            if time.monotonic() >= say_at:
                log.info("waiting for %s", ", ".join(self._preparing(name) for name in missing))
                say_at += SAY_WHO_IS_MISSING_S
        return ready

    def _preparing(self, name: str) -> str:
        beat = self.progress.get(name)
        if beat is None:
            return f"{name} (not heard of at {self.address})"
        return f"{name} (preparing, {beat.progress} of {beat.of})" if beat.of else f"{name} (preparing)"

    def broadcast(self, message: AnyMessage) -> None:
        """Send to every member that is there; who says Ready later is answered with it, too. Encoded here, once."""
        self._orders.put(("", in_frames(encode(message)), True))

    def send(self, node: str, message: AnyMessage) -> None:
        """Send to one member; lost if it is gone, of which ``poll`` tells."""
        self._orders.put((node, in_frames(encode(message)), False))

    def poll(self, timeout_s: float, of: Iterable[str] | None = None) -> tuple[str, AnyMessage | Lost] | None:
        """The next event (a member's name, and its message or its loss), of these members alone if given, or None.

        Heartbeats go to ``progress``.
        """
        event = self._events.get(timeout_s, None if of is None else set(of))
        if event is None:
            return None
        node, message, counted = event
        if counted:
            self._takings.put(node)
        return node, message

    def _run(self) -> None:
        beat_at = time.monotonic()
        end = 0.0
        last_round = False
        while not last_round or (any(peer.backlog for peer in self._peers.values()) and time.monotonic() < end):
            if self._closing.is_set() and not last_round:
                last_round, end = True, time.monotonic() + FLUSH_MS / 1e3
            self._socket.poll(0 if last_round else POLL_MS)
            for _ in range(FRAMES_AT_ONCE):
                if not self._socket.poll(0):
                    break
                frames = self._socket.recv_multipart()
                self._take(frames[0].decode("utf-8", "backslashreplace"), frames[0], frames[1:])
            self._give()
            now = time.monotonic()
            if now >= beat_at:
                beat_at = now + HEARTBEAT_S
                for node, peer in list(self._peers.items()):
                    if now - peer.heard_at > SILENCE_S:
                        self._lose(node, f"silent for {SILENCE_S:.0f} s")
                    elif not peer.backlog:
                        self._send(node, (self._beat,))

    def _give(self) -> None:
        """Send what the server says, what waited for room, and how much the server has taken."""
        for node, peer in list(self._peers.items()):
            if peer.backlog:
                waiting, peer.backlog, peer.backlog_bytes = list(peer.backlog), deque(), 0
                self._send(node, waiting)
        while not self._orders.empty():
            to, frames, keep = self._orders.get()
            if keep:
                self._last_order = frames
            for node in [to] if to else list(self._peers):
                self._send(node, frames)
        taken: dict[str, Peer] = {}
        while not self._takings.empty():
            node = self._takings.get()
            if node in self._peers:
                taken[node] = self._peers[node]
                taken[node].taken += 1
        for node, peer in taken.items():
            self._send(node, (encode(Taken(count=peer.taken)),))

    def _take(self, node: str, identity: bytes, frames: list[bytes]) -> None:
        data = b"".join(frames)
        peer = self._peers.get(node)
        try:
            message = decode(data, node)
            if isinstance(message, Piece):
                whole = self._piece(node, peer, message)
                if whole is None:
                    return
                data, message = whole, decode(whole, node)
            if getattr(message, "node", node) != node:
                raise ProtocolError(f"{node}: sent a message in the name of {message.node!r}")  # type: ignore[union-attr]
        except ProtocolError as error:
            self._malformed(node, identity, error)
            return
        if node in self._refused:
            if not isinstance(message, Hello):
                return
            del self._refused[node]
        if peer is None:
            if len(self._peers) >= MEMBERS:
                self._tell(identity, Stop(reason=f"{self.name} has {MEMBERS} members, which is all that it takes"))
                return
            peer = self._peers[node] = Peer(time.monotonic())
            self._send(node, (self._beat,))
        peer.heard_at = time.monotonic()
        refusal = self._refusal(node, peer, message)
        if refusal:
            self._refuse(node, refusal)
        elif isinstance(message, Hello):
            peer.role, peer.taken = message.role, 0
        elif isinstance(message, Heartbeat):
            self.progress[node] = message
        elif isinstance(message, Ready):
            if peer.ready != message:
                peer.ready = message
                self._events.put_state(node, message)
            if self._last_order:
                self._send(node, self._last_order)
        elif isinstance(message, Stop):
            self._lose(node, message.reason or "it left")
        else:
            kept = self._events.put(node, message, len(data))
            if kept is None:
                self._takings.put(node)
            elif not kept:
                self._refuse(node, f"it said more than {MAX_WAITING} messages that nobody has taken")

    def _piece(self, node: str, peer: Peer | None, piece: Piece) -> bytes | None:
        """The message that this piece makes whole, or None."""
        if peer is None or not peer.role:
            raise ProtocolError(f"{node}: sent a piece before it said who it is")
        peer.heard_at = time.monotonic()
        if sum(p.coming.held_bytes for p in self._peers.values()) + len(piece.data) > HALF_ARRIVED_BYTES:
            peer.coming.forget()
            self._refuse(node, f"more than {HALF_ARRIVED_BYTES >> 20} MiB of messages have arrived by half")
            return None
        return peer.coming.take(piece, node)

    def _refusal(self, node: str, peer: Peer, message: AnyMessage) -> str:
        """Why a member may not say that; empty if it may."""
        if isinstance(message, (Heartbeat, Stop)):
            return ""
        if isinstance(message, Hello):
            if message.role not in MAY_SAY:
                return f"no role is named {message.role!r}; there are {', '.join(MAY_SAY)}"
            due = self._roles.get(node) if self._roles is not None else message.role
            if due is None and message.role not in GUESTS:
                return f"this run has no {message.role} of that name; it has {', '.join(self._roles or ())}"
            if due is not None and message.role != due:
                return f"it is the {due} of that name in this run, and cannot be {message.role}"
            return ""
        word = type(message).__name__
        if not peer.role:
            return f"it sent {word} before it said who it is"
        if not isinstance(message, MAY_SAY[peer.role]):
            may = ", ".join(role for role, words in MAY_SAY.items() if type(message) in words) or "the server alone"
            return f"it is {peer.role}, which may not say {word}; that may: {may}"
        return ""

    def _malformed(self, node: str, identity: bytes, error: ProtocolError) -> None:
        if node not in self.malformed and len(self.malformed) >= MEMBERS:
            node = "others"
        self.malformed[node] += 1
        if self.malformed[node] == 1:
            log.warning("%s (more of these are only counted)", error)
        self._tell(identity, Heartbeat(node=self.name))  # so that the other end learns that this one is of another kind

    def _refuse(self, node: str, reason: str) -> None:
        """Send a member away, and tell the server why; until it says Hello again it is not heard."""
        while len(self._refused) >= MEMBERS:
            del self._refused[next(iter(self._refused))]
        self._refused[node] = None
        log.warning("%s is refused: %s", node, reason)
        self._send(node, (encode(Stop(reason=f"{node} is refused: {reason}")),))
        self._lose(node, reason)

    def _tell(self, identity: bytes, message: AnyMessage) -> None:
        """Say something to who is no member; lost if it is gone."""
        try:
            self._socket.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError:
            log.debug("%r is gone already", identity)

    def _send(self, node: str, frames: Sequence[bytes]) -> None:
        """Frames to a member, behind those that wait for it; without copies, so that one message is held once."""
        peer = self._peers.get(node)
        for index, frame in enumerate(frames):
            if peer is not None and peer.backlog:
                self._keep(node, peer, frames[index:])
                return
            try:
                self._socket.send_multipart([node.encode(), frame], zmq.NOBLOCK, copy=False)
            except zmq.ZMQError as error:
                if error.errno == zmq.EHOSTUNREACH:
                    self._lose(node, "its connection ended")
                elif error.errno != zmq.EAGAIN:
                    raise
                elif peer is not None:
                    self._keep(node, peer, frames[index:])
                return

    def _keep(self, node: str, peer: Peer, frames: Sequence[bytes]) -> None:
        peer.backlog.extend(frames)
        peer.backlog_bytes += sum(map(len, frames))
        if peer.backlog_bytes > BACKLOG_BYTES:
            self._lose(node, f"it took nothing of the {BACKLOG_BYTES >> 20} MiB that wait for it")

    def _lose(self, node: str, reason: str) -> None:
        if self._peers.pop(node, None) is not None:
            self._events.put_state(node, Lost(reason))

    def _failed(self, reason: str) -> None:
        self._events.put_state(self.name, Lost(reason))


@contextmanager
def hosting(
    address: str, name: str, bound: Callable[[str], None], roles: Mapping[str, str] | None = None
) -> Iterator[Hub]:
    """A hub for one run: ``bound`` is told its address, and however the run ends, every member hears that and why."""
    with Hub(address, name, roles) as hub:
        bound(address)
        reason = "the server ended"
        try:
            yield hub
            reason = ""
        except BaseException as error:
            reason = str(error) or type(error).__name__
            raise
        finally:
            hub.broadcast(Stop(reason=reason))
