"""What listens at an address where no peer answers: one look at the greeting that ZeroMQ sends by itself (ZMTP 3)."""

from __future__ import annotations

import socket
import struct
from urllib.parse import urlsplit

PROBE_S = 0.5  # each for connecting and for what comes then
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY"
WANTED = "it is no ZeroMQ REP socket, as GNU Radio's ZMQ REP Sink and srsRAN's tx_port are"


def refusal(endpoint: str, timeout_s: float = PROBE_S) -> str:
    """Why a TCP connection to ``tcp://host:port`` fails, in words; empty if it succeeds."""
    try:
        connect(endpoint, timeout_s).close()
    except OSError as error:
        return in_words(error)
    return ""


def probe(endpoint: str) -> str:
    """Why an endpoint does not answer a REQ socket.

    Parameters
    ----------
    endpoint : str
        ``tcp://host:port``

    Returns
    -------
    str
        In words, such as ``connection refused``.

    References
    ----------
    ZeroMQ RFC 23, ZMTP 3.0: both sides send a greeting of 64 bytes, then a READY command with their Socket-Type.
    """
    try:
        with connect(endpoint, PROBE_S) as peer:
            kind = socket_type(peer)
    except OSError as error:
        return in_words(error)
    if kind in ("REP", "ROUTER"):
        return f"a ZeroMQ {kind} socket is there now, but it came too late"
    return f"something listens there, but {WANTED}" if kind is None else f"a ZeroMQ {kind} socket is there: {WANTED}"


def pattern_at(endpoint: str) -> str | None:
    """The Socket-Type of the ZeroMQ socket at an endpoint; None if there is none."""
    try:
        with connect(endpoint, PROBE_S) as peer:
            return socket_type(peer)
    except OSError:
        return None


def connect(endpoint: str, timeout_s: float) -> socket.socket:
    """A TCP connection; OSError where there is none."""
    parts = urlsplit(endpoint)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout_s)


def in_words(error: OSError) -> str:
    """``connection refused``."""
    return "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()


def socket_type(peer: socket.socket) -> str | None:
    """The Socket-Type that a ZeroMQ peer states; None if what it sends is no greeting and READY of ZMTP 3."""
    try:
        peer.sendall(GREETING)
        greeting = read(peer, len(GREETING))
        if greeting[:1] != b"\xff" or greeting[9:11] != b"\x7f\x03" or greeting[12:16] != b"NULL":
            return None
        flags, size = read(peer, 2)
        body = read(peer, size)
    except (OSError, ValueError):
        return None
    if flags != 4 or not body.startswith(READY):  # a short command
        return None
    return properties(body[len(READY) :]).get("socket-type")


def properties(body: bytes) -> dict[str, str]:
    """Names, in lower case, and values of a READY command; what is cut short is left out."""
    found = {}
    while body:
        name, rest = body[1 : 1 + body[0]], body[1 + body[0] :]
        if len(rest) < 4:
            break
        (size,) = struct.unpack(">I", rest[:4])
        if len(rest) < 4 + size:
            break
        value = rest[4 : 4 + size].decode("ascii", "replace")
        found[name.decode("ascii", "replace").lower()] = value if value.isalnum() else repr(value)
        body = rest[4 + size :]
    return found


def read(peer: socket.socket, count: int) -> bytes:
    """Exactly ``count`` bytes.

    Raises
    ------
    ValueError
        If the peer closes before.
    """
    found = b""
    while len(found) < count:
        part = peer.recv(count - len(found))
        if not part:
            raise ValueError("closed")
        found += part
    return found
