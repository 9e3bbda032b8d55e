"""One connection to a virtual Pluto: IIOD's commands, answered by the device's tree and the ether."""

from __future__ import annotations

import contextlib
import errno
import math
import select
import socket
import threading
import time

from testbed.air.iiod import protocol
from testbed.air.iiod.buffers import Receiving, TxBuffer
from testbed.air.iiod.context import find_attribute, find_device
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.opening import Passage
from testbed.air.iiod.protocol import MAX_LINE, MAX_PAYLOAD, Refused, Request

SEND_LIMIT_S = 30.0  # for a client to take an answer, and for a long one what the slowest link takes
SLOWEST_BYTES_S = 1e6
DISCARDED = 4 * 2**20  # bytes of a payload that is refused and still read, so that the stream stays in step


class Client:
    """One connection: its commands, and the buffers that it opened, which close with it."""

    def __init__(self, pluto: VirtualPluto, ether: Passage, connection: socket.socket, lock: threading.Lock) -> None:
        self.pluto = pluto
        self.ether = ether
        self._socket = connection
        self._stream = connection.makefile("rb")
        self._lock = lock
        self._open: dict[str, TxBuffer | Receiving] = {}
        ether.join(pluto)

    def run(self) -> None:
        """Serve until EXIT or the client is gone."""
        while line := self._stream.readline(MAX_LINE):
            if not line.endswith(b"\n"):
                return  # longer than any request, or cut off: there is no telling where the next one would begin
            try:
                request = protocol.parse(line)
                if request is None:
                    continue
                if request.command == "EXIT":
                    return
                reply = self._answer(request)
            except Refused as error:
                reply = protocol.code(-error.number)
            self._send(reply)

    def close(self) -> None:
        """What a CLOSE would do, for all that is open."""
        for buffer in self._open.values():
            self.ether.close(self.pluto, buffer)
        self._open.clear()
        self.ether.leave(self.pluto)
        self._stream.close()

    def _answer(self, request: Request) -> bytes:
        """The reply to one request; buffers send some of it themselves."""
        if request.command in ANSWERS:
            return ANSWERS[request.command](self, request)
        if request.command == "VERSION":
            return f"{protocol.VERSION}\n".encode()
        if request.command == "PRINT":
            return protocol.document(self.pluto.xml())
        if request.command == "TIMEOUT":
            self.pluto.timeout_s = request.number * 1e-3 or math.inf  # 0: none; libiio 0.25, local.c
            return protocol.code(0)
        if request.command in ("GETTRIG", "SETTRIG"):
            find_device(self.pluto.tree, request.device)
            raise Refused(errno.ENOENT)
        raise Refused(errno.EINVAL)

    def _read(self, request: Request) -> bytes:
        with self._lock:
            return protocol.counted(find_attribute(self.pluto.tree, request).read())

    def _write(self, request: Request) -> bytes:
        """The payload is consumed whatever comes of it."""
        if request.number > MAX_PAYLOAD:
            self._discard(request.number)
            raise Refused(errno.EINVAL)
        payload = self._take(request.number)
        text = payload.split(b"\0")[0].decode("ascii", "replace").strip()
        with self._lock:
            attribute = find_attribute(self.pluto.tree, request)
            if attribute.write is None:
                raise Refused(errno.EACCES)
            attribute.write(text)
        return protocol.code(request.number)

    def _side(self, request: Request) -> str:
        """TX or RX by name or id; ENODEV for what has no buffer."""
        name = find_device(self.pluto.tree, request.device).name
        if name not in (TX, RX):
            raise Refused(errno.ENODEV)
        return name

    def _set(self, request: Request) -> bytes:
        self.pluto.blocks[self._side(request)] = request.number
        return protocol.code(0)

    def _opening(self, request: Request) -> bytes:
        side = self._side(request)
        if side in self._open:
            raise Refused(errno.EBUSY)
        self._open[side] = self.ether.open(self.pluto, side, request)
        return protocol.code(0)

    def _closing(self, request: Request) -> bytes:
        side = self._side(request)
        if side not in self._open:
            raise Refused(errno.EBADF)
        self.ether.close(self.pluto, self._open.pop(side))
        return protocol.code(0)

    def _readbuf(self, request: Request) -> bytes:
        """Chunks of at most a block, each with its length; the mask goes with the first."""
        buffer = self._open.get(self._side(request))
        if not isinstance(buffer, Receiving):
            raise Refused(errno.EBADF)
        if request.number % buffer.frame_bytes:
            raise Refused(errno.EINVAL)
        missing = request.number
        head = protocol.mask_line(buffer.mask, buffer.mask_digits)
        while missing:
            count = min(missing // buffer.frame_bytes, buffer.block_samples)
            data = self.ether.pull(self.pluto, buffer, count, self._gone)
            self._send(protocol.code(len(data)) + head)
            self._send(data)
            missing -= len(data)
            head = b""
        return b""

    def _writebuf(self, request: Request) -> bytes:
        """0 says that the data may come; the number of bytes that they are on their way."""
        buffer = self._open.get(self._side(request))
        if not isinstance(buffer, TxBuffer):
            raise Refused(errno.EBADF)
        if request.number > buffer.block_bytes:
            raise Refused(errno.EINVAL)
        self._send(protocol.code(0))
        data = self._take(request.number)
        self.ether.push(self.pluto, buffer, data, self._gone)
        return protocol.code(request.number)

    def _send(self, data: bytes | memoryview) -> None:
        """All of it within one time limit, however small the parts that the client takes.

        Raises
        ------
        TimeoutError
            If it did not; the connection then ends.
        """
        rest = memoryview(data)
        deadline = time.monotonic() + SEND_LIMIT_S + len(data) / SLOWEST_BYTES_S
        while rest:
            wait_s = deadline - time.monotonic()
            if wait_s <= 0:
                raise TimeoutError(f"{len(rest)} bytes are left that it does not take")
            if select.select([], [self._socket], [], wait_s)[1]:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]

    def _take(self, count: int) -> bytearray:
        """Exactly so many bytes; a client that ends before is gone."""
        data = bytearray(count)
        if self._stream.readinto(data) < count:
            raise ConnectionResetError("cut off within a payload")
        return data

    def _discard(self, count: int) -> None:
        if count > DISCARDED:
            raise ConnectionAbortedError(f"a payload of {count} bytes")
        while count:
            count -= len(self._take(min(count, MAX_PAYLOAD)))

    def _gone(self) -> bool:
        """Whether the client closed the connection while it waits for an answer."""
        if not select.select([self._socket], [], [], 0)[0]:
            return False
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except OSError:
            return True


ANSWERS = {
    "READ": Client._read,
    "WRITE": Client._write,
    "SET": Client._set,
    "OPEN": Client._opening,
    "CLOSE": Client._closing,
    "READBUF": Client._readbuf,
    "WRITEBUF": Client._writebuf,
}
