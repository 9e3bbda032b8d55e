"""Orders to an air that runs, over a socket that only its user can reach: change a link, tell of ports.

The socket is a file in a folder that nobody else may enter; `semtb air set` and `semtb air status` find it there.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Union

import msgspec
import zmq

from testbed.air.port_status import PortStatus
from testbed.errors import DataError, PeerUnreachable, ProtocolError, SemtbError

MAX_ORDER_BYTES = 4096
MAX_ANSWER_BYTES = 1 << 20
AT_ONCE = 8  # orders between two blocks; more wait for the next
SUFFIX = ".sock"
FOLDER = "SEMTB_AIR_FOLDER"  # in the environment: where the sockets lie instead
MAX_PATH_BYTES = 107  # sun_path of unix(7), without its end

log = logging.getLogger(__name__)


class SetLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="set"):
    """From the next sample on a key of a link (``edge-1.server``) has another value."""

    link: str
    key: str
    value: float


class AskStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="status"):
    """How do the ports stand?"""


class Applied(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="applied"):
    """It holds from this sample on."""

    at_sample: int
    link: str
    key: str
    value: float


class Ports(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ports"):
    """All ports, and how long the air has run."""

    time_s: float
    ports: list[PortStatus]


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refused"):
    """Nothing has changed."""

    reason: str


Order = Union[SetLink, AskStatus]  # noqa: UP007 - msgspec wants a runtime union on 3.10
Answer = Union[Applied, Ports, Refused]  # noqa: UP007
ORDERS, ANSWERS = msgspec.msgpack.Decoder(Order), msgspec.msgpack.Decoder(Answer)


def command_folder() -> Path:
    """The folder of this user's sockets, made where it is missing.

    Raises
    ------
    DataError
        If it belongs to another user, or others may enter it.
    """
    given = os.environ.get(FOLDER)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    folder = Path(given) if given else base / f"semtb-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise DataError(
            f"{folder}: no folder for the sockets of airs: {error.strerror}; name one by {FOLDER}"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise DataError(f"{folder}: it must be a folder of yours that nobody else may enter (chmod 700), see {FOLDER}")
    return folder


class CommandSocket:
    """Takes orders between blocks, in the thread that mixes; `serve` never waits.

    Parameters
    ----------
    name : str
        Of the air.
    apply : callable
        Makes a `SetLink` hold from the next sample on, and says so; raises SemtbError for what it refuses.
    status : callable
    """

    def __init__(self, name: str, apply: Callable[[SetLink], Applied], status: Callable[[], Ports]) -> None:
        self._apply, self._status = apply, status
        self.path = command_folder() / f"{name}-{os.getpid()}{SUFFIX}"
        require_short(self.path)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in ((zmq.LINGER, 0), (zmq.MAXMSGSIZE, MAX_ORDER_BYTES), (zmq.RCVHWM, AT_ONCE)):
            self._socket.setsockopt(option, value)
        try:
            self._socket.bind(f"ipc://{self.path}")
        except zmq.ZMQError as error:
            self.close()
            raise DataError(f"{self.path}: no socket can be made there: {error.strerror}") from error

    def __enter__(self) -> CommandSocket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the socket, and take its file away."""
        self._socket.close()
        self._context.term()
        self.path.unlink(missing_ok=True)

    def serve(self) -> None:
        """Answer what has come."""
        for _ in range(AT_ONCE):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) == 3 and not frames[1]:
                answer = msgspec.msgpack.encode(self._answer(frames[2]))
                try:
                    self._socket.send_multipart([frames[0], b"", answer], zmq.NOBLOCK)
                except zmq.ZMQError:  # it has left
                    continue

    def _answer(self, order: bytes) -> Answer:
        try:
            wanted = ORDERS.decode(order)
            return self._apply(wanted) if isinstance(wanted, SetLink) else self._status()
        except msgspec.DecodeError as error:
            return Refused(f"no order to an air: {error}")
        except SemtbError as error:
            return Refused(str(error))


def require_short(path: Path) -> None:
    """Raise DataError for a path that no socket can have."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise DataError(f"{path}: longer than the {MAX_PATH_BYTES} bytes of a socket's path: choose a shorter {FOLDER}")


def running_airs() -> dict[str, Path]:
    """Sockets of airs whose processes live, by name (``air-4711``); those of airs that were killed are removed."""
    found = {}
    for path in sorted(command_folder().glob(f"*{SUFFIX}")):
        pid = path.stem.rpartition("-")[2]
        if pid.isdecimal() and is_alive(int(pid)):
            found[path.stem] = path
        else:
            path.unlink(missing_ok=True)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def ask(path: Path, order: Order, timeout_s: float = 5.0) -> Answer:
    """Send an order and wait for the answer.

    Raises
    ------
    PeerUnreachable
        If the air does not answer.
    ProtocolError
        If what it answers is none.
    """
    require_short(path)
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
        socket.connect(f"ipc://{path}")
        socket.send(msgspec.msgpack.encode(order))
        if not socket.poll(round(timeout_s * 1e3)):
            raise PeerUnreachable(f"the air at {path} does not answer within {timeout_s:g} s")
        try:
            return ANSWERS.decode(socket.recv())
        except msgspec.DecodeError as error:
            raise ProtocolError(f"the air at {path} answers what is none: {error}") from error
