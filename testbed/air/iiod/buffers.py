"""What waits between a client and the air: blocks to transmit, and a request for samples. No sockets, no locks."""

from __future__ import annotations

import errno
import itertools
import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from testbed.air.iiod.context import Device
from testbed.air.iiod.protocol import Refused, Request

BLOCKS = 4  # of a buffer, the kernel's default; SET BUFFERS_COUNT changes it
MAX_BYTES = 64 * 2**20  # of one block
MAX_GAPS = 64  # that are remembered
NUMBERS = itertools.count(1)


class Opened:
    """One opened buffer: its block size and which of the device's columns it carries."""

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        if not device.scanned:
            raise Refused(errno.ENODEV)
        if request.mask_digits != device.mask_digits:
            raise Refused(errno.EINVAL)
        self.columns = [i for i in range(device.scanned) if request.mask >> i & 1]
        if not self.columns or request.mask >> device.scanned:
            raise Refused(errno.EINVAL)
        self.all_columns = device.scanned
        self.blocks = blocks
        self.block_samples = request.number
        self.frame_bytes = 2 * len(self.columns)
        self.mask, self.mask_digits = request.mask, request.mask_digits
        self.since = 0.0  # when it last did what the air waits for
        self.stalled_s = math.inf  # in real pace: since when it is full (receiving) or empty, on the monotonic clock
        self.grace_s = 0.0  # for which the air then waits: by so much it was late itself
        if self.block_samples * self.frame_bytes > MAX_BYTES:
            raise Refused(errno.ENOMEM)

    @property
    def block_bytes(self) -> int:
        """Of one block."""
        return self.block_samples * self.frame_bytes


class TxBuffer(Opened):
    """Blocks that wait to leave; a cyclic one leaves over and over."""

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        super().__init__(device, request, blocks)
        self.cyclic = request.cyclic
        self.samples = 0  # that wait
        self.started_s = math.inf  # when its first block came, on the monotonic clock
        self.moving = False  # a sample has left
        self._queue: deque[np.ndarray] = deque()
        self._begin = 0  # within the first block

    @property
    def has_room(self) -> bool:
        """Whether another block may come."""
        return len(self._queue) < self.blocks

    @property
    def loaded(self) -> bool:
        """Whether anything waits."""
        return bool(self._queue)

    @property
    def starting(self) -> bool:
        """Whether a stream waits whose first sample has not left."""
        return self.loaded and not self.cyclic and not self.moving

    def push(self, data: bytes | bytearray, now_s: float = 0.0) -> None:
        """Queue the bytes of a block, or of its beginning.

        Raises
        ------
        Refused
            EBUSY for a second block of a cyclic buffer; EINVAL if the bytes are no whole samples or more than a block.
        """
        if self.cyclic and self._queue:
            raise Refused(errno.EBUSY)
        if not data or len(data) % self.frame_bytes or len(data) > self.block_bytes:
            raise Refused(errno.EINVAL)
        block = np.frombuffer(data, dtype="<i2").reshape(-1, len(self.columns))
        if len(self.columns) < self.all_columns:
            codes, block = block, np.zeros((len(block), self.all_columns), dtype=np.int16)
            block[:, self.columns] = codes
        self._queue.append(block)
        self.started_s = min(self.started_s, now_s)
        self.samples += len(block)

    def pop(self, count: int) -> np.ndarray:
        """[count, columns] int16, not to be written; what is missing at the end is zeros."""
        self.moving = True
        if self.cyclic and self._queue:
            block = self._queue[0]
            turned = np.concatenate([block[self._begin :], block[: self._begin]])
            self._begin = (self._begin + count) % len(block)
            return np.resize(turned, (count, self.all_columns))
        out = np.zeros((count, self.all_columns), dtype=np.int16) if self._ends_within(count) else None
        if out is None:
            self._begin += count
            self.samples -= count
            return self._queue[0][self._begin - count : self._begin]
        filled = 0
        while filled < count and self._queue:
            block = self._queue[0]
            part = block[self._begin : self._begin + count - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            self._begin += len(part)
            if self._begin == len(block):
                self._begin = 0
                self._queue.popleft()
        self.samples -= filled
        return out

    def _ends_within(self, count: int) -> bool:
        """Whether so many samples reach the end of the first block."""
        return not self._queue or self._begin + count >= len(self._queue[0])

    def peek(self, count: int) -> np.ndarray:
        """[count, columns] int16 of what leaves next, repeated where less than that waits. Nothing is taken."""
        kept = deque(self._queue), self._begin, self.samples, self.moving
        try:
            codes = self.pop(count if self.cyclic else min(count, self.samples))
        finally:
            self._queue, self._begin, self.samples, self.moving = kept
        return (
            np.resize(codes, (count, self.all_columns)) if len(codes) else np.zeros((count, self.all_columns), np.int16)
        )


class Receiving(Opened):
    """A buffer of a receiver, which keeps a list of what was lost."""

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        super().__init__(device, request, blocks)
        self.number = next(NUMBERS)
        self.delivered = 0  # samples since it opened, those lost left out
        self.gaps: deque[tuple[int, int]] = deque(maxlen=MAX_GAPS)  # (delivered before it, samples lost)

    def lose(self, count: int) -> None:
        """So many samples passed while there was no room for them."""
        if self.gaps and self.gaps[-1][0] == self.delivered:
            count += self.gaps.pop()[1]
        self.gaps.append((self.delivered, count))


class RxBuffer(Receiving):
    """Samples that a client has asked for and not got yet, where time waits for clients."""

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        super().__init__(device, request, blocks)
        self.missing = 0
        self._codes = np.zeros((0, len(self.columns)), dtype="<i2")

    def ask(self, count: int) -> None:
        """A READBUF begins."""
        self.missing = count
        self._codes = np.empty((count, len(self.columns)), dtype="<i2")

    def push(self, codes: np.ndarray) -> None:
        """[n, all columns] int16, at most as many as are missing."""
        begin = len(self._codes) - self.missing
        whole = len(self.columns) == self.all_columns
        self._codes[begin : begin + len(codes)] = codes if whole else codes[:, self.columns]
        self.missing -= len(codes)
        self.delivered += len(codes)

    def take(self) -> memoryview:
        """The bytes of what has come, in the client's order of columns."""
        come = len(self._codes) - self.missing
        self.missing = 0
        return bytes_of(self._codes[:come])


class DmaBuffer(Receiving):
    """Blocks that fill as time passes, whether the client reads or not, and then stall.

    As libiio has it, the client keeps the block that it read last; that one is handed back when it asks for the next.
    So of four blocks an idle client first gets four old ones; what follows was taken from its first reading on.
    """

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        super().__init__(device, request, blocks)
        self._queued = blocks  # that are free or filling
        self._full: deque[np.ndarray] = deque()
        self._filling: np.ndarray | None = None
        self._filled = 0
        self._held: np.ndarray | None = None  # that the client reads
        self._read = 0

    @property
    def room(self) -> int:
        """Samples that the free blocks still take."""
        return self._queued * self.block_samples - self._filled

    @property
    def missing(self) -> int:
        """Samples until a block is there to be read."""
        return 0 if self._full else self.block_samples - self._filled

    @property
    def ready(self) -> bool:
        """Whether something can be read at once."""
        return self._held is not None or bool(self._full)

    def push(self, codes: np.ndarray) -> None:
        """[n, all columns] int16, at most as many as there is room for."""
        done = 0
        while done < len(codes):
            if self._filling is None:
                self._filling = np.empty((self.block_samples, len(self.columns)), dtype="<i2")
            part = codes[done : done + self.block_samples - self._filled]
            whole = len(self.columns) == self.all_columns
            self._filling[self._filled : self._filled + len(part)] = part if whole else part[:, self.columns]
            self._filled += len(part)
            done += len(part)
            if self._filled == self.block_samples:
                self._full.append(self._filling)
                self._filling, self._filled = None, 0
                self._queued -= 1
        self.delivered += len(codes)

    def release(self) -> None:
        """Hand back the block that was read to its end; it is free again."""
        if self._held is None and self._queued + len(self._full) < self.blocks:
            self._queued += 1
            self.stalled_s = math.inf

    def take(self, count: int) -> memoryview:
        """The bytes of up to so many samples of one block, which is `ready`."""
        if self._held is None:
            self._held, self._read = self._full.popleft(), 0
        part = self._held[self._read : self._read + count]
        self._read += len(part)
        if self._read == self.block_samples:
            self._held = None
        return bytes_of(part)


def joined(parts: Sequence[tuple[TxBuffer, np.ndarray]]) -> np.ndarray | None:
    """One device's columns from the buffers of several clients; where two fill the same, the later has it: ops.c."""
    if not parts:
        return None
    codes = parts[0][1] if len(parts) == 1 else parts[0][1].copy()
    for tx, part in parts[1:]:
        codes[:, tx.columns] = part[:, tx.columns]
    return codes


def bytes_of(codes: np.ndarray) -> memoryview:
    """Of a contiguous array, not copied."""
    return codes.reshape(-1).view(np.uint8).data
