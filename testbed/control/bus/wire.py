"""What both ends of the control bus share: addresses, encoding, and the times after which a peer counts as gone."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import zmq

from testbed.control.messages import MAX_MESSAGE_BYTES, PIECE_BYTES, VERSION, AnyMessage
from testbed.errors import ProtocolError, ScenarioError

HEARTBEAT_S = 0.5  # a killed peer is noticed at the next beat, well within the 3 s that a run may take to end
SILENCE_S = 8.0  # a peer that is connected but mute (stopped, swapped out) is given up; a loaded machine is not
CONNECT_S = 2.5  # an unreachable peer is to be named within 5 s; the rest is for starting up on a busy machine
POLL_MS = 20  # how long an order to the thread that owns a socket may lie before it is seen
FLUSH_MS = 500  # how long a closing end tries to get its last words out
FRAMES_QUEUED = 64  # ZeroMQ's own queues, each way and for each peer; what is more waits at its sender
FRAMES_AT_ONCE = 256  # read before anything else is looked after, whatever comes in
MAX_FRAME_BYTES = 2 * PIECE_BYTES  # never trust a length from the wire: ZMQ_MAXMSGSIZE is set to this

log = logging.getLogger(__name__)

DECODER = msgspec.msgpack.Decoder(AnyMessage)
# RecursionError from arrays nested thousands deep, TypeError (msgspec 0.21) from maps whose keys cannot be hashed.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)


def encode(message: AnyMessage) -> bytes:
    """MessagePack bytes of a message.

    Raises
    ------
    ProtocolError
        If the message is larger than a peer takes.
    """
    data = msgspec.msgpack.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f"a {type(message).__name__} of {len(data) / 2**20:.0f} MiB is larger than the control bus carries "
            f"({MAX_MESSAGE_BYTES / 2**20:.0f} MiB); send it in parts"
        )
    return data


def decode(data: bytes, peer: str) -> AnyMessage:
    """The message in ``data``.

    Raises
    ------
    ProtocolError
        If it is malformed, of another version or of an unknown type; the message names ``peer``.
    """
    try:
        message: AnyMessage = DECODER.decode(data)
        version: Any = message.version
    except UNREADABLE as error:
        version = foreign_version(data)
        if version in (None, VERSION):
            raise ProtocolError(f"{peer}: not a message of the control bus: {error}") from error
    if version != VERSION:
        raise ProtocolError(
            f"{peer} speaks version {version} of the control bus, this is version {VERSION}: "
            "install the same release of semcom-testbed on both machines"
        )
    return message


def foreign_version(data: bytes) -> object:
    """The ``version`` that an otherwise unreadable message claims, or None."""
    try:
        tree = msgspec.msgpack.decode(data)
    except UNREADABLE:
        return None
    return tree.get("version") if isinstance(tree, dict) else None


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``tcp://host:port``.

    Raises
    ------
    ScenarioError
        If it is anything else.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not address.startswith("tcp://") or not host or not port:
        raise ScenarioError(f"control = {address}: write it as tcp://127.0.0.1:PORT")
    return host, port


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def probe(host: str, port: int, timeout_s: float = 0.5) -> str:
    """Why a TCP connection fails, in words; empty if it succeeds."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


class End:
    """One end of the bus: a socket, and the one thread that owns it once it runs.

    What another thread says before :meth:`close` is said before the thread ends.
    """

    def __init__(self, kind: int, address: str) -> None:
        self.address = address
        self.host, self.port = parse_address(address)
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        self._socket.setsockopt(zmq.SNDHWM, FRAMES_QUEUED)
        self._socket.setsockopt(zmq.RCVHWM, FRAMES_QUEUED)
        self._socket.setsockopt(zmq.LINGER, FLUSH_MS)
        if ":" in self.host:
            self._socket.setsockopt(zmq.IPV6, 1)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def _start(self, body: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                body()
            except Exception as error:  # whatever it is, the owner is told instead of waiting for nothing
                log.debug("the control bus at %s failed", self.address, exc_info=True)
                self._failed(f"the control bus failed: {error}")
            finally:
                self._socket.close()

        self._thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._thread.start()

    def _failed(self, reason: str) -> None:
        """Told when the thread cannot go on."""

    def close(self) -> None:
        """Say what is left to say, free the socket and end the thread; idempotent, at most about a second."""
        self._closing.set()
        if self._thread is None:
            self._socket.close(linger=0)
        elif self._thread is not threading.current_thread():
            self._thread.join(2 * FLUSH_MS / 1e3)
        if not self._context.closed and (self._thread is None or not self._thread.is_alive()):
            self._context.term()

    def __exit__(self, *exc: object) -> None:
        self.close()
